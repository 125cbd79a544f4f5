"""Run the museum and write README.md beside this file.

    python reports/museum/make.py

Needs the packages of `.[test]` and the Windows environment (`python .ci/windows.py provision`).
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "museum")]

from catalogue import EXHIBITS, NOT_REENACTED, Exhibit  # noqa: E402 - found by the line above
from visits import PROVIDERS, unavailable, verdict, visit  # noqa: E402

TEXT = """\
# The museum: real bugs, re-enacted

Each row is a bug that was reported against a real program or found in a library, written again as
the smallest client in its original shape (`tests/museum/exhibits/`), together with its fixed twin.
Every program runs on softcsp and on the genuine parts (Windows CPython 3.13, pywin32 and advapi32
under Wine), once with everything logged and once with misuse raised.

*Caught*: the finding is there with the right code, kind of handle and line of acquisition.
*Missed*: it is not. *False alarms*: any other finding of the program, and every finding of its
fixed twin.

{table}

{totals}

Notes:

- `pywin32_double_release` is a correct program that the library breaks. Without the tracer {broken}
  of its 20 new contexts work on the genuine parts; under the tracer, which keeps released
  objects alive, all 20 do. It is reported as a notice about pywin32 and not as a finding.
- `pywin32_key_destructor` forgets to release, which is found; that pywin32 then releases the
  context before the key is not held against the program.
- `drmemory_1235` has no bug. It does what other leak tools gave false alarms for.

## Not re-enacted

Field bugs of the same sorts: in APIs that csptrace does not trace, and of PKCS#11, whose crashing
scenarios are in `tests/conformance/test_pkcs11_processes.py`:

{others}

## Again

```console
$ python reports/museum/make.py
$ python -m pytest tests/museum
```
"""


def row(exhibit: Exhibit) -> str:
    """Return one line of the table."""
    codes = [f"`{finding.code}` {finding.kind}" for finding in exhibit.findings]
    wanted = "<br>".join(codes) or (f"notice `{exhibit.notice}`" if exhibit.notice else "nothing")
    cells = [f"`{exhibit.name}`", exhibit.report, exhibit.bug, wanted]
    told = dict.fromkeys(each[3] for each in visit("softcsp")[exhibit.name]["log"]["causes"])
    cells.append("<br>".join(map(_cell, told)))
    for provider in PROVIDERS:
        judged = verdict(exhibit, provider)
        cells.append(f"{judged.caught} / {len(judged.missed)} / {len(judged.false_alarms)}")
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def totals(provider: str) -> str:
    """Return the sums for one provider, and what was missed."""
    judged = {exhibit.name: verdict(exhibit, provider) for exhibit in EXHIBITS}
    caught = sum(each.caught for each in judged.values())
    missed = [(name, finding) for name, each in judged.items() for finding in each.missed]
    alarms = [(name, finding) for name, each in judged.items() for finding in each.false_alarms]
    text = (
        f"**{PROVIDERS[provider]}**: {len(EXHIBITS)} exhibits and {len(EXHIBITS)} fixed twins, "
        f"{caught} findings caught, {len(missed)} missed, {len(alarms)} false alarms."
    )
    for what, found in (("missed", missed), ("false alarm", alarms)):
        text += "".join(f"\n- {what}: `{name}`, `{each[0]}` {each[1]}" for name, each in found)
    return text


def main() -> int:
    """Write the report; return 1 if a provider is missing."""
    for provider in PROVIDERS:
        reason = unavailable(provider)
        if reason is not None:
            print(f"make.py: {reason}", file=sys.stderr)
            return 1
    columns = [f"{name}: caught / missed / false alarms" for name in ("softcsp", "genuine")]
    head = ["exhibit", "report", "bug", "has to be found", "why, as csptrace tells it", *columns]
    table = "\n".join(
        [
            f"| {' | '.join(head)} |",
            "|---|---|---|---|---|---|---|",
            *map(row, EXHIBITS),
        ]
    )
    (HERE / "README.md").write_text(
        TEXT.format(
            table=table,
            totals="\n\n".join(map(totals, PROVIDERS)),
            broken=visit("windows")["pywin32_double_release"]["untraced"]["returned"],
            others="\n".join(f"- {api}: {', '.join(all_)}" for api, all_ in NOT_REENACTED.items()),
        ),
        encoding="utf-8",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
