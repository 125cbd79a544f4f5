"""Compare traced and untraced programs and write README.md beside this file.

    python reports/transparency/measure.py

Needs the packages of `.[test]` and the Windows environment (`python .ci/windows.py provision`).
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "transparency")]

import windows_python  # noqa: E402 - found by the line above
from programs import SCRIPTED  # noqa: E402
from running import (  # noqa: E402
    COUNT,
    GENUINE,
    MODES,
    SEED,
    SOFT,
    judge,
    play,
)
from streams import compare  # noqa: E402

TEXT = """\
# Transparency: what the tracer changes for a program

{scripted} scripted programs and {count} generated ones (seed {seed}) run through each binding,
without the tracer and with it. They make the mistakes that programs make: {findings} findings in
the run through the genuine ctypes. For every step the following has to be equal:

- what the call returned and wrote into the program's memory;
- every last error that the binding has: the system's (`kernel32.GetLastError`), both ctypes modes
  (`use_last_error` on and off, with `argtypes` and `errcheck` and without), `ffi.getwinerror()` and
  `errno` of cffi;
- the exception, type and text: of the provider, of an `errcheck`, and of the binding itself for
  arguments that it refuses;
- on the genuine parts (Windows CPython 3.13, cffi, pywin32 and advapi32 under Wine), the sequence
  of native calls with all their arguments, as Wine's `+crypt` trace has it. Handles are compared by
  what they were acquired as, memory by the order of its first use.

| binding | tracer | native calls | steps | raised | second releases | differences |
|---|---|---|---|---|---|---|
{table}

{modes}

*Raised*: programs that the tracer stopped; a misuse has to raise before its native call, a leak
after the native release. *Untraced* rows compare two runs without the tracer: the programs repeat
themselves.

*Second releases* are the one deliberate difference. pywin32's destructors release a handle that is
dead already, because it was released explicitly or because its context is gone, and by then the
number may be another handle's. csptrace keeps such objects alive, so that this native call, which
is refused at best, is absent, and so is the last error that it leaves (87). Exactly one call of
the release function with the handle of the dropped object is taken from the untraced run for each
of them; everything else has to be equal. The programs drop a dead object before they acquire
anything else, so that the second release hits nobody; where it does,
see `pywin32_double_release` in [the museum](../museum/README.md).

On softcsp there is no trace of native calls; results, last errors and exceptions are compared.

## Again

```console
$ python reports/transparency/measure.py
$ python -m pytest tests/transparency
```
"""


def main() -> int:
    """Write the report; return 1 if the genuine parts are missing or anything differs."""
    reason = windows_python.unavailable()
    if reason is not None:
        print(f"measure.py: {reason}", file=sys.stderr)
        return 1
    rows, different = [], False
    for binding in (*GENUINE, *SOFT):
        name = f"genuine {binding}" if binding in GENUINE else binding.replace("-", " ")
        again = compare(play(binding, "off"), play(binding, "off", 1), quarantine=False)
        compared = {"untraced": again} | {mode: judge(binding, mode) for mode in MODES}
        for mode, result in compared.items():
            calls = f"{result.calls:,}" if binding in GENUINE else "-"
            seconds = result.second_releases or "-"
            rows.append(
                f"| {name} | {mode} | {calls} | {result.steps:,} | {result.raised or '-'} "
                f"| {seconds} | {len(result.differences)} |"
            )
            for difference in result.differences:
                different = True
                print(f"{name}, {mode}: {difference}", file=sys.stderr)
    (HERE / "README.md").write_text(
        TEXT.format(
            scripted=len(SCRIPTED),
            count=COUNT,
            seed=SEED,
            findings=play("ctypes", "log").findings,
            table="\n".join(rows),
            modes="\n".join(f"- `{mode}`: {what}." for mode, what in MODES.items()),
        ),
        encoding="utf-8",
    )
    return int(different)


if __name__ == "__main__":
    sys.exit(main())
