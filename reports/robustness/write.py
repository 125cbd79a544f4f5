"""Write the tables of README.md beside this file from faults.json and kills.json.

python reports/robustness/write.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
NAMES = {
    "compact": "`compact --delete-logs` of a rotated log that has grown and lost a piece",
    "overlap": "the same, with a second archive of that log",
    "cache": "`report -o` with a cache",
    "baseline": "`baseline` over a file with reasons",
    "log": "a process that writes and rotates its log",
}


def main() -> None:
    """Put the numbers between the marks."""
    faults = json.loads((HERE / "faults.json").read_text("utf-8"))
    kills = json.loads((HERE / "kills.json").read_text("utf-8"))
    rows = ["| what fails | programs | runs | failed | deviations |", "|---|---|---|---|---|"]
    for what, row in faults.items():
        if isinstance(row, dict):
            numbers = (f"{row[name]:,}" for name in ("programs", "runs", "failed", "deviations"))
            rows.append(f"| {what} | {' | '.join(numbers)} |")
    lost = ["| scenario | killed | lost |", "|---|---|---|"]
    lost += [
        f"| {NAMES[name]} | {row['killed']} | {row['lost']} |"
        for name, row in kills.items()
        if name in NAMES
    ]
    text = (HERE / "README.md").read_text("utf-8")
    for name, table, machine in (("faults", rows, faults), ("kills", lost, kills)):
        block = (
            f"<!-- {name} -->\n" + "\n".join(table) + f"\n\nOn {machine['machine']}.\n<!-- end -->"
        )
        text = re.sub(
            rf"<!-- {name} -->.*?<!-- end -->", lambda _, block=block: block, text, flags=re.DOTALL
        )
    (HERE / "README.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
