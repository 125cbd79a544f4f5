"""Holds a program over PKCS#11 against the rules, with `pkcs11_model` and SoftHSM's own answers.

1. Who says that a handle is dead is right: the provider refuses it, or it is dead in the model.
2. When the provider refuses a handle that was valid once, or crashes on it, the tracer has said
   why; unless it could not know: it has not seen the handle come or go, or the number may have come
   again unseen.
3. What is owed when its parent goes or tracing ends is told as leaked, and nothing else is.

The model foresees what the provider refuses; where it does not, it is the model that is at fault.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

from pkcs11_model import (
    CRASHED,
    LIBRARY,
    OBJECT,
    OK,
    REFUSALS,
    SESSION,
    SKIPPED,
    WAY,
    Leak,
    Model,
    Step,
)

_MISUSE: Final = frozenset(
    {
        "use-after-release",
        "use-after-invalidation",
        "double-release",
        "wrong-release",
        "out-of-order-release",
        "stale-dependency",
        "release-while-in-use",
    }
)
_LEAK: Final = frozenset({"leaked-at-release", "leaked-at-exit", "lost"})


class Fault(NamedTuple):
    """A step that breaks a rule.

    Attributes:
        rule: `false` (1), `silent` (2), `recycled` (2, where the provider takes the number for a
            newer handle and only the binding's object knows better), `no leak`, `leak` (3), `error`
            for what no program must see, or `model` if the model has not foreseen the answer.
        at: the step.
        what: what was seen, and what the model says.
    """

    rule: str
    at: str
    what: str


class Verdict(NamedTuple):
    """What the rules say of a program.

    Attributes:
        faults: what has broken one.
        unknowable: why the tracer could not know what was refused: reason → how often.
        checked: what was put to the test → how often.
    """

    faults: list[Fault]
    unknowable: Counter[str]
    checked: Counter[str]


class Judge:
    """Follows one process of a program.

    Args:
        model: the process's model.
        reaction: what the tracer does about a misuse.
        verdict: takes what is found.
    """

    def __init__(self, model: Model, reaction: str, verdict: Verdict) -> None:
        self.model = model
        self._reaction = reaction
        self._verdict = verdict

    def forked(self) -> Judge:
        """Return the judge of a child."""
        return Judge(self.model.forked(), self._reaction, self._verdict)

    def follow(self, step: Step) -> None:
        """Judge a step, and let the model do it."""
        if step.answer == SKIPPED:
            return
        refusal = self.model.refusal(step)
        misused = step.answer.startswith("misuse")
        if step.answer.startswith("error") or misused != (
            self._reaction == "raise" and bool(step.misuses)
        ):
            self._fault("error", step, f"with {step.misuses}")
        if not misused:
            self._check_answer(step, refusal)
        self._check_misuses(step, refusal)
        if step.answer in REFUSALS or step.answer == CRASHED:
            self._check_silence(step, refusal)
        elif step.answer == OK and not step.misuses and refusal is None:
            self._check_recycled(step)
        self.model.do(step)
        for oddity in self.model.oddities:
            self._fault("model", step, oddity)
        self._check_leaks(step)

    def _fault(self, rule: str, step: Step, what: str) -> None:
        text = f"{step.verb} {step.answer} {what}".strip()
        self._verdict.faults.append(Fault(rule, step.at, text))

    def _check_answer(self, step: Step, refusal: str | None) -> None:
        """Compare the provider's answer with the model's, as to what is valid."""
        self._verdict.checked["answers"] += 1
        if refusal is WAY or self.model.dangles(step):
            return  # anything may come
        if REFUSALS.get(step.answer) != refusal or step.answer == CRASHED:
            self._fault("model", step, f"instead of {refusal or 'no refusal'}")

    # --- rule 1 -------------------------------------------------------------------------------

    def _check_misuses(self, step: Step, refusal: str | None) -> None:
        """See to it that what is said to be dead is dead."""
        for code, kind, number in step.misuses:
            self._verdict.checked["misuses told"] += 1
            if refusal not in (WAY, LIBRARY) and not self._is_dead(step, kind, number):
                what = f"{code} of {kind} {number}"
                self._fault("false", step, what)

    def _is_dead(self, step: Step, kind: str, number: int) -> bool:
        """Return whether what a finding is about is dead in the model."""
        model = self.model
        if kind == LIBRARY:
            return not model.up
        if kind == WAY:
            way, handle = model.way(step), model.used(step)
            return not way.loaded or (handle is not None and handle.loading != way.loading)
        used = {SESSION: step.session, OBJECT: step.object}.get(kind)
        if used is None or model.record(used).number != number:
            return False
        if kind == OBJECT and model.is_python(step) and model.session_of(step) is None:
            return True  # python-pkcs11's object is of its session, and refused without it
        now = model.session_of(step) if kind == SESSION else model.object_of(step)
        return now is not model.record(used)

    # --- rule 2 -------------------------------------------------------------------------------

    def _check_silence(self, step: Step, refusal: str | None) -> None:
        """See to it that what the provider refuses was told, if the tracer could know."""
        reason = self._unknown(step, refusal)
        if step.misuses:
            self._verdict.checked["refusals told"] += 1
        elif reason:
            self._verdict.unknowable[reason] += 1
        else:
            what = f"though the end of {refusal} was seen"
            self._fault("silent", step, what)

    def _unknown(self, step: Step, refusal: str | None) -> str:
        """Return why the tracer could not know what was refused, empty if it could."""
        model = self.model
        if not model.seen(step):
            return "the call itself is not traced"
        if step.verb in ("load", "unload", "finalize", "reinitialize"):
            return "no handle is named"
        if refusal == WAY:
            return "" if model.way(step).told else "the unloading was not seen"
        if model.blind:
            return "handles may have come unseen"
        if refusal == LIBRARY:
            return "" if model.down_told else "C_Finalize was not seen"
        used = model.used(step)
        if used is not None and model.dangles(step):
            return "" if used.record.told else "the handle was not seen going"
        if refusal not in (SESSION, OBJECT):
            return "the model has not foreseen it"
        record = model.record(step.session if refusal == SESSION else step.object)
        told = record.told and model.newest(record).told
        return "" if told else "the handle was not seen going"

    def _check_recycled(self, step: Step) -> None:
        """See to it that an object of a binding knows that it is dead, whatever its number."""
        model = self.model
        if step.session is None or not model.seen(step):
            return
        for reference, find in model.identified(step):
            record = reference.record
            known = reference.made and reference.stretch == model.stretch and record.told
            if known and reference.place == step.arguments[0] and find(step) is not record:
                what = f"though {record.number} is another one's now"
                self._fault("recycled", step, what)

    # --- rule 3 -------------------------------------------------------------------------------

    def _check_leaks(self, step: Step) -> None:
        """Compare the leaks told with those that there are."""
        model = self.model
        self._verdict.checked["leaks told"] += sum(model.certain.values())
        for rule, leaks in (
            ("no leak", model.certain - step.leaks),
            ("leak", step.leaks - model.certain - model.possible),
        ):
            for leak in leaks:
                self._fault(rule, step, " ".join(map(str, leak)))
        for code in step.others:
            if code != "failed-release" or step.answer == OK:
                self._fault("false", step, code)


# --- a whole program ------------------------------------------------------------------------------


def judge(program: dict[str, Any], report: dict[str, Any]) -> Verdict:
    """Hold what a program has done against the rules.

    Args:
        program: the program.
        report: what `pkcs11_player` says of it.
    """
    verdict = Verdict([], Counter(), Counter(programs=1))
    judges = {"": Judge(Model(program["clients"]), program["reaction"], verdict)}
    begun: list[_Begun] = []

    def end(answer: str, made: list[Any]) -> None:
        step = begun.pop()
        judges[_process(step.at)].follow(step.ended(answer, made))
        verdict.checked["crashes"] += answer == CRASHED

    for line in report["said"]:
        if "begins" in line:
            process = _process(line["begins"])
            if process not in judges:  # the first step of a child
                judges[process] = judges[_process(process[:-1])].forked()
            begun.append(_Begun(line["begins"], *line["step"]))
        elif "uses" in line:
            begun[-1].uses[line["uses"]] = line["reference"]
        elif "finding" in line:
            begun[-1].findings.append(line["finding"])
        else:
            while begun[-1].at != line["ends"]:  # of a child that is no more
                end(CRASHED, [])
            end(line["answer"], line["made"])
    if begun:
        end(CRASHED, [])
    return verdict


def _process(at: str) -> str:
    """Return which process a step belongs to: `3.1.` for the step `3.1.7`, the first is empty."""
    return at[: at.rfind(".") + 1]


class _Begun:
    """A step that has begun."""

    def __init__(self, at: str, verb: str, *arguments: Any) -> None:
        self.at = at
        self.verb = verb
        self.arguments = list(arguments)
        self.uses: dict[str, int] = {}
        self.findings: list[list[Any]] = []

    def ended(self, answer: str, made: list[Any]) -> Step:
        """Return the whole of it."""
        misuses, leaks, others = [], Counter[Leak](), []
        for code, severity, kind, number, times in self.findings:
            if code in _MISUSE:
                misuses.append((code, kind, number))
            elif code in _LEAK:
                leaks[Leak(code, severity, kind, max(number, 0))] += times
            else:
                others.append(code)
        return Step(
            self.at,
            self.verb,
            self.arguments,
            answer,
            self.uses.get("session"),
            self.uses.get("object"),
            [tuple(entry) for entry in made],
            misuses,
            leaks,
            others,
        )
