"""What a program of `programs/` has to be told, as its own header says it.

    # needs softhsm             it uses SoftHSM, with a fresh token
    # ends STATUS              the program ends with this exit status, if not with 0
    # want CODE KIND LINE       a finding, once for each such line; LINE is where the handle was
                                acquired, 0 for anywhere. No other finding may be there.
    # why ~ REGEX               the cause of every wanted leak matches (`!`: it does not)
    # fix ~ REGEX               its remedy does (`!`: it does not)

`{mark}` stands for the line that ends in the comment `# mark`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_RULE = re.compile(r"^# (needs|ends|want|why|fix) ?(.*)$", re.MULTILINE)
_MARK = re.compile(r"  # ([a-z]+)$")
_TEXTS = {"why": "cause", "fix": "remedy"}


class Demands(NamedTuple):
    """What one program demands.

    Attributes:
        needs: what has to be there.
        status: the exit status.
        wanted: the findings, as code, kind and line.
        texts: what must (`~`) or must not (`!`) be said: field, sign and expression.
    """

    needs: tuple[str, ...] = ()
    status: int = 0
    wanted: Counter[tuple[str, str, int]] = Counter()  # noqa: RUF012 - never changed
    texts: tuple[tuple[str, str, str], ...] = ()

    def faults(self, findings: list[dict[str, Any]]) -> list[str]:
        """Return what is wrong with the findings of a run, in the words of the log's events."""
        faults, met = [], []
        left = Counter(self.wanted)
        for each in findings:
            line = each.get("where_line", 0)
            key = next(
                (key for at in (line, 0) if left[key := (each["code"], each["kind"], at)]), None
            )
            if key is None:
                faults.append(f"not wanted: {each['code']} {each['kind']} {each.get('where')}")
            else:
                left[key] -= 1
                met.append(each)
        faults += [f"missing: {key}" for key, count in left.items() for _ in range(count)]
        leaks = [
            each for each in met if each["code"].startswith("leaked") or each["code"] == "lost"
        ]
        for field, sign, expression in self.texts:
            faults += [
                f"{field} {sign} {expression}: {each.get(field, '')}"
                for each in leaks
                if bool(re.search(expression, each.get(field, ""))) is (sign == "!")
            ]
        return faults


def demands_of(program: Path) -> Demands:
    """Read the header of a program."""
    text = program.read_text(encoding="utf-8")
    marks = {
        match[1]: number
        for number, line in enumerate(text.splitlines(), 1)
        if (match := _MARK.search(line))
    }
    needs, texts, status = [], [], 0
    wanted: Counter[tuple[str, str, int]] = Counter()
    for word, rest in _RULE.findall(text):
        for mark, number in marks.items():
            rest = rest.replace(f"{{{mark}}}", str(number))  # noqa: PLW2901 - filled in
        if word == "needs":
            needs.append(rest)
        elif word == "ends":
            status = int(rest)
        elif word == "want":
            code, kind, line = rest.split()
            wanted[code, kind, int(line)] += 1
        else:
            sign, _, expression = rest.partition(" ")
            texts.append((_TEXTS[word], sign, expression))
    return Demands(tuple(needs), status, wanted, tuple(texts))
