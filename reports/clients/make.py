"""Run test suites that nobody here wrote and write README.md beside this file.

    python reports/clients/make.py [--only SUITE]

Needs the packages of `.[test,pkcs11]`, SoftHSM, pkcs11-spy and the package registry, from which the
suites are fetched. `--only` runs one suite again and keeps the results of the others.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TESTS = HERE.parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "conformance"), str(TESTS / "client_suites")]

import sdists  # noqa: E402 - found by the line above
import softhsm  # noqa: E402
import suite_runs  # noqa: E402
from suites import SKIPPED, SUITES, Suite  # noqa: E402
from verdicts import Verdict  # noqa: E402

RESULTS = HERE / "results.json"
TRACED = ("log", "soft", "raise")

TEXT = """\
# Clients: test suites that nobody here wrote

The test suites of PKCS#11 programs and bindings, as their source distributions on the package
registry have them, run on SoftHSM below pkcs11-spy: without the tracer, and with it in three modes.

- `log`: `CSPTRACE=1`, misuse is logged;
- `soft`: the pytest plugin with `--csptrace --csptrace-soft`;
- `raise`: `CSPTRACE=1` as it is, misuse raises.

**Outcomes.** Every test has to end as it does without the tracer. Under `raise` a test that misuses
a handle may end otherwise: those are counted behind the `+`. *Calls*: native functions that are
called more or less often under `log`, but for what csptrace documents as its questions.

{outcomes}

**Findings** are held against pkcs11-spy's log of the same run by an oracle that has no code of
csptrace (`tests/client_suites/oracle.py`): which handle was opened, made, found, closed, destroyed
in which life of the library, and what the provider answered.

- *Sessions*: not closed before C_Finalize or the end of the process. *Objects*: made as session
  objects and left to the close of their session or leaked with it. *Misuses*: of a handle that the
  provider refused, or that had ended.
- *False*: a finding that the oracle refutes. *Missed*: a leak, or a refusal of a handle that had
  been valid, that no finding tells of; under `raise`, where no misuse reaches the provider, leaks
  only. *Not judged*: the native calls do not say (the state of an operation; whether an object that
  was found is still valid).

{findings}

{totals}

{details}

## How they are run

{notes}

Not run:

{skipped}

## Again

```console
$ python reports/clients/make.py
$ python -m pytest tests/client_suites
```

The second runs a part of the first two suites. What is downloaded is kept in
`~/.cache/csptrace-suites`, or the folder that `CLIENT_SUITES_CACHE` names; without the registry
those tests skip.
"""


def run(suite: Suite) -> dict[str, Any]:
    """Return the results of all parts and modes of one suite."""
    result: dict[str, Any] = {
        "version": sdists.version(suite),
        "outcomes": Counter(),
        "calls": 0,
        "processes": 0,
        "modes": {
            mode: {"differences": [], "stopped": [], "calls": [], "verdict": vars(Verdict())}
            for mode in TRACED
        },
    }
    for part in suite.parts:
        runs = {mode: _play(suite, mode, part) for mode in suite_runs.MODES}
        plain, misusing = runs["untraced"], suite_runs.misusing(runs["soft"])
        result["outcomes"].update(plain.outcomes.values())
        result["calls"] += plain.calls()
        result["processes"] += len(plain.histories)
        for mode in TRACED:
            into = result["modes"][mode]
            for each in suite_runs.differences(plain, runs[mode]):
                stopped = mode == "raise" and each.split(": ")[0] in misusing
                into["stopped" if stopped else "differences"].append(each)
            if not runs[mode].outcomes or (plain.status >= 0 > runs[mode].status):
                into["differences"].append(f"{' '.join(part)}: status {runs[mode].status}")
            if mode == "log":
                into["calls"] += suite_runs.other_calls(plain, runs[mode])
            total = Verdict(**into["verdict"])
            total.add(runs[mode].verdict(raising=mode == "raise"))
            into["verdict"] = vars(total)
    return result


def _play(suite: Suite, mode: str, part: tuple[str, ...]) -> suite_runs.Run:
    home = Path(tempfile.mkdtemp(prefix="csptrace-suite-"))
    print(suite.name, *part, mode, file=sys.stderr)
    try:
        return suite_runs.play(suite, mode, part, home)
    finally:
        shutil.rmtree(home)


def report(results: dict[str, Any]) -> str:
    """Return the text of README.md."""
    outcomes = [
        "| suite | tests | passed | native calls | processes | log | soft | raise | calls |"
    ]
    outcomes.append("|---|---|---|---|---|---|---|---|---|")
    findings = ["| suite | mode | sessions | objects | misuses | false | missed | not judged |"]
    findings.append("|---|---|---|---|---|---|---|---|")
    details: list[str] = []
    totals: Counter[str] = Counter()
    for suite in SUITES:
        if suite.name not in results:
            continue
        result = results[suite.name]
        name = f"{suite.name} {result['version']}"
        modes = result["modes"]
        cells = [name, f"{sum(result['outcomes'].values()):,}"]
        cells += [f"{result['outcomes'].get('passed', 0):,}", f"{result['calls']:,}"]
        cells += [str(result["processes"])]
        for mode in TRACED:
            stopped = len(modes[mode]["stopped"])
            differences = modes[mode]["differences"]
            cells.append(f"{len(differences)}" + (f" + {stopped}" if stopped else ""))
            details += [f"- {suite.name}, {mode}, outcome: `{each}`" for each in differences]
            details += [f"- {suite.name}, {mode}, calls: {each}" for each in modes[mode]["calls"]]
        cells.append(str(len(modes["log"]["calls"])))
        outcomes.append(f"| {' | '.join(cells)} |")
        for mode in TRACED:
            verdict = modes[mode]["verdict"]
            cells = [suite.name, mode]
            cells += [f"{verdict[each]:,}" for each in ("leaks", "left", "misuses")]
            for what in ("false", "missed", "unjudged"):
                cells.append(f"{len(verdict[what]):,}")
                totals[what] += len(verdict[what])
            details += _details(suite, mode, verdict)
            findings.append(f"| {' | '.join(cells)} |")
    return TEXT.format(
        outcomes="\n".join(outcomes),
        findings="\n".join(findings),
        totals=f"**{totals['false']} false, {totals['missed']} missed**, over all runs; "
        f"{totals['unjudged']} not judged.",
        details="\n".join(details) or "No difference, nothing false, nothing missed.",
        notes="\n".join(f"- {each.name}: {each.note}" for each in SUITES if each.note),
        skipped="\n".join(f"- {name}: {reason}" for name, reason in SKIPPED.items()),
    )


def _details(suite: Suite, mode: str, verdict: dict[str, Any]) -> list[str]:
    """Return lines for what is false or missed; what is alike but for numbers is counted."""
    lines = []
    for what in ("false", "missed"):
        alike = Counter(_alike(each) for each in verdict[what])
        lines += [
            f"- {suite.name}, {mode}, {what}, {count} times: {each}"
            for each, count in alike.items()
        ]
    return lines


def _alike(text: str) -> str:
    words = [word for word in text.replace(",", " ,").split() if not word[:1].isdigit()]
    return " ".join(words).replace(" ,", ",").replace(" at,", ",").removesuffix(" at")


def main() -> int:
    """Write the report; return 1 if something that all suites need is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", choices=[each.name for each in SUITES])
    parser.add_argument("--text", action="store_true", help="write the text again, run nothing")
    arguments = parser.parse_args()
    if not (softhsm.module() and softhsm.spy()):
        print("make.py: SoftHSM or pkcs11-spy is not installed", file=sys.stderr)
        return 1
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    for suite in SUITES:
        if arguments.text or (arguments.only and suite.name != arguments.only):
            continue
        try:
            results[suite.name] = run(suite)
        except sdists.Unavailable as reason:
            print(f"make.py: {suite.name}: {reason}", file=sys.stderr)
            continue
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    (HERE / "README.md").write_text(report(results), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
