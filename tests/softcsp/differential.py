"""The differential test's machinery: both providers, the comparison, the report.

    python tests/softcsp/differential.py

writes ``reports/conformance/softcsp.md`` anew, from `divergences` and a run against the genuine
advapi32 (Windows Python under Wine, see ``.ci/windows.py``).
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import differential_client as client
import windows_python
from differential_cases import sequences
from divergences import DIVERGENCES, FACES, Divergence
from hypothesis import HealthCheck, Phase, given, seed, settings

from csptrace.softcsp.errors import NAMES

if TYPE_CHECKING:
    from differential_cases import Call

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "reports" / "conformance" / "softcsp.md"
COMMAND = "python tests/softcsp/differential.py"
SEED_VARIABLE = "SOFTCSP_DIFFERENTIAL_SEED"
SEED = int(os.environ.get(SEED_VARIABLE, "20"))
LEAST_CALLS = 10_000

_ROUND = 100  # sequences between two looks at the number of calls
_TABLE_HEADING = "## Where they differ"
_RUN_HEADING = "## The run behind this report"


class Genuine:
    """The client program running under Windows Python, one sequence at a time."""

    def __init__(self) -> None:
        """Start it."""
        self.restarts = 0
        self._start()

    def _start(self) -> None:
        environment = windows_python.environment()
        environment.start_server()
        program = windows_python.tool().windows_path(Path(client.__file__))
        # Python cannot open its standard streams there unless all three are pipes.
        self._process = subprocess.Popen(
            environment.command([program]),
            env=environment.variables({"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self.prefix = f"{client.PREFIX}{os.getpid()}-"
        answer = self._read()
        if answer != "ready":
            raise RuntimeError(f"the Windows client does not start: {answer}")

    def _read(self) -> Any:
        """Read one answer; None if the process ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            return json.loads(line)
        except ValueError:
            self._said = line + self._process.stdout.read()
            return None

    def _ask(self, calls: list[Call]) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([self.prefix, calls]) + "\n")
            self._process.stdin.flush()
        except OSError:
            return None
        return self._read()

    def run(self, calls: list[Call]) -> list[Any]:
        """Run one sequence there; where that ends the process, every call has crashed.

        What damaged its heap may have been an earlier sequence: a new process tries again.
        """
        results: list[Any] | None = self._ask(calls)
        for _ in range(2):
            if results is not None:
                return results
            self.restarts += 1
            self.close()
            self._start()
            results = self._ask(calls)
        self.close()
        self._start()
        return [[client.CRASHED, 0, [], 0]] * len(calls)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@dataclass
class Comparison:
    """What a comparison found.

    Attributes:
        calls: calls compared, by function.
        seen: listed divergences met, by name.
        last: place and name of the last listed divergence.
        unlisted: the first one that is not listed, as text; None if there is none.
        diverging: the sequence compared last.

    """

    calls: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    last: tuple[int, str] | None = None
    unlisted: str | None = None
    diverging: list[Call] = field(default_factory=list)

    def add(self, other: Comparison) -> None:
        """Add another's counts."""
        self.calls += other.calls
        self.seen += other.seen
        self.unlisted = self.unlisted or other.unlisted


class Pair:
    """softcsp in this process and the genuine advapi32 in another."""

    def __init__(self, genuine: Genuine) -> None:
        """Take the running genuine one."""
        from csptrace.softcsp.library import advapi32

        self.genuine = genuine
        self.soft = client.Client(client.Soft(advapi32))

    def compare(self, calls: list[Call]) -> Comparison:
        """Run a sequence on both and compare, up to where they go different ways."""
        theirs = self.genuine.run(calls)
        ours = self.soft.run(calls, self.genuine.prefix)
        found = Comparison()
        for place, (call, mine, other) in enumerate(zip(calls, ours, theirs, strict=True)):
            found.calls[call[0]] += 1
            if mine == other:
                continue
            known = next((d for d in DIVERGENCES if matches(d, call, mine, other)), None)
            if known is None:
                found.unlisted = explain(calls, place, mine, other)
                return found
            found.seen[known.name] += 1
            found.last = (place, known.name)
            if known.parts_ways:
                return found
        return found


def matches(known: Divergence, call: Call, ours: list[Any], theirs: list[Any]) -> bool:
    """Say whether two different results of a call are this divergence."""
    if call[0].rstrip("AW") not in known.functions:
        return False
    for place, values in known.arguments.items():
        if call[place] not in values:
            return False
    codes = (_code(ours), _code(theirs))
    if known.content and not str((ours[2] or [""])[0]).startswith(known.content):
        return False
    if known.outputs is not None and ours[2] != known.outputs:
        return False
    if known.same_code:
        return codes[0] == codes[1] and (not known.ours or codes[0] in known.ours)
    return codes[0] in known.ours and (known.theirs is None or codes[1] in known.theirs)


def _code(result: list[Any]) -> int | str:
    return client.CRASHED if result[0] == client.CRASHED else int(result[1])


def explain(calls: list[Call], place: int, ours: list[Any], theirs: list[Any]) -> str:
    """Show a divergence: the calls up to it, and both results."""
    lines = [json.dumps(call) for call in calls[: place + 1]]
    return "\n".join(
        [
            "a divergence that is not listed, in the last of these calls:",
            *lines,
            f"softcsp:  {_show(ours)}",
            f"advapi32: {_show(theirs)}",
        ]
    )


def _show(result: list[Any]) -> str:
    code = _code(result)
    if code == client.CRASHED:
        return client.CRASHED
    name = "succeeds" if not code else NAMES.get(int(code), hex(int(code)))
    return f"{name}, outputs {result[2]}"


def shortest(pair: Pair, calls: list[Call]) -> str | None:
    """Leave calls out of a sequence while it shows an unlisted divergence; explain what is left."""
    shown = pair.compare(calls).unlisted
    size = len(calls) // 2
    while size:
        place = 0
        while place < len(calls):
            shorter = calls[:place] + calls[place + size :]
            unlisted = pair.compare(shorter).unlisted
            if unlisted is None:
                place += size
            else:
                shown, calls = unlisted, shorter
        size //= 2
    return shown


def generated(pair: Pair, start: int, least: int) -> Comparison:
    """Compare generated sequences until at least that many calls were compared.

    Raises:
        AssertionError: an unlisted divergence, shown by the shortest sequence found.

    """
    total = Comparison()
    rounds = 0
    while sum(total.calls.values()) < least:
        _round(pair, start + rounds, total)
        rounds += 1
    return total


def _round(pair: Pair, number: int, total: Comparison) -> None:
    @seed(number)
    @settings(
        max_examples=_ROUND,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(sequences())
    def compare(calls: list[Call]) -> None:
        if total.unlisted is None:
            total.add(pair.compare(calls))
            total.diverging = calls

    compare()
    if total.unlisted is not None:
        raise AssertionError(shortest(pair, total.diverging) or total.unlisted)


# --- the report --------------------------------------------------------------------------------


def table() -> str:
    """Render the listed divergences."""
    lines = [_TABLE_HEADING, ""]
    for known in DIVERGENCES:
        functions = ", ".join(f"`{name}`" for name in known.functions)
        lines += [
            f"### {known.name}",
            "",
            f"- functions: {functions}",
            f"- softcsp: {known.softcsp}",
            f"- advapi32 as compared: {known.genuine}",
            f"- reason: {known.reason}",
            "",
        ]
    lines += [
        "### calls of the win32crypt face",
        "",
        "Compared with pywin32's module on the same provider. A reason may be the name of a",
        "divergence above.",
        "",
        "| call | reason |",
        "|---|---|",
        *(f"| `{call}` | {reason} |" for call, reason in FACES.items()),
        "",
    ]
    return "\n".join(_wrapped(line) for line in lines)


def _wrapped(line: str) -> str:
    if not line.startswith("- "):
        return line
    return textwrap.fill(line, 98, subsequent_indent="  ", break_on_hyphens=False)


def table_of(report: str) -> str:
    """Cut the divergences out of a written report."""
    start = report.index(_TABLE_HEADING)
    return report[start : report.index(_RUN_HEADING)]


def render(found: Comparison) -> str:
    """Render the report of a run."""
    calls = sum(found.calls.values())
    counts = [f"| `{name}` | {count} |" for name, count in sorted(found.calls.items())]
    seen = [f"| {name} | {count} |" for name, count in sorted(found.seen.items())]
    head = f"""\
# softcsp compared with the genuine advapi32

The same sequences of calls go through one ctypes client to softcsp and to the advapi32 and rsaenh
libraries of Wine, an implementation that nobody of this project wrote and whose own conformance
tests are written to pass on Windows. Return value, last error, lengths and output bytes are
compared; bytes that depend on random numbers by their length only. After a refusal other than
ERROR_MORE_DATA the outputs are undefined by the documentation and are not compared.

Sequences are generated from a fixed seed (`{SEED_VARIABLE}` chooses another), at least
{LEAST_CALLS:,} calls in a run, and there are scripted ones. A divergence that is not listed below
fails the test, and so does a listed one that no longer occurs.

Written by `{COMMAND}`.
"""
    run = f"""\
{_RUN_HEADING}

{calls:,} generated calls compared, seed {SEED}, Python {platform.python_version()} against Wine
with Windows Python 3.13; no unlisted divergence.

| function | calls compared |
|---|---|
{chr(10).join(counts)}

| divergence | met in generated sequences |
|---|---|
{chr(10).join(seen)}
"""
    return f"{head}\n{table()}\n{run}"


def main() -> int:
    """Write the report."""
    if reason := windows_python.unavailable():
        sys.stderr.write(f"{reason}\n")
        return 3
    with tempfile.TemporaryDirectory() as home:
        os.environ["SOFTCSP_HOME"] = home
        genuine = Genuine()
        try:
            found = generated(Pair(genuine), SEED, LEAST_CALLS)
        finally:
            genuine.close()
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(render(found), encoding="utf-8")
    calls = sum(found.calls.values())
    sys.stdout.write(f"{calls} calls compared; {REPORT.relative_to(ROOT)} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
