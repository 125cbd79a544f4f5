"""Where the time of a test run goes: the files of a JUnit report, slowest first.

python -m pytest -n 2 --junitxml=junit.xml; python reports/ci/by_file.py junit.xml 40
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections import defaultdict


def main(path: str, most: str = "40") -> None:
    """Print seconds, tests and the slowest test of each file.

    Args:
        path: a report of pytest's option `--junitxml`.
        most: how many files are printed.
    """
    seconds: dict[str, float] = defaultdict(float)
    tests: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for case in ET.parse(path).iter("testcase"):
        took = float(case.get("time", 0))
        name = case.get("classname", "")
        seconds[name] += took
        tests[name].append((took, case.get("name", "")))
    print(f"{sum(seconds.values()):8.0f} s in {sum(map(len, tests.values()))} tests")
    for name, total in sorted(seconds.items(), key=lambda item: -item[1])[: int(most)]:
        took, slowest = max(tests[name])
        print(f"{total:8.0f} s {len(tests[name]):5} {name}  ({took:.0f} s: {slowest})")


if __name__ == "__main__":
    main(*sys.argv[1:3])
