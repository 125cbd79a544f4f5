"""What csptrace raises: one class for each misuse, told in words, picklable, with its finding."""

from __future__ import annotations

import copy
import ctypes
import pickle
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import csptrace
from csptrace import errors
from csptrace.findings import errors as finding_errors
from csptrace.findings.catalogue import Code
from csptrace.softcsp import advapi32

if TYPE_CHECKING:
    from collections.abc import Callable

    Trace = Callable[..., csptrace.Tracer]

MISUSES = [
    cls
    for cls in vars(finding_errors).values()
    if isinstance(cls, type)
    and issubclass(cls, csptrace.HandleError)
    and cls is not csptrace.HandleError
]
ALL = [getattr(module, name) for module in (errors, finding_errors) for name in module.__all__]
SECRETIVE = "the name of a container"


def acquire(name: str | None = None) -> ctypes.c_size_t:
    """Acquire a context."""
    context = ctypes.c_size_t()
    flags = 0xF0000000 if name is None else 0x8
    assert advapi32.CryptAcquireContextW(ctypes.byref(context), name, None, 24, flags)
    return context


def release_twice(name: str | None = None) -> None:
    """Release a context twice."""
    context = acquire(name)
    advapi32.CryptReleaseContext(context, 0)
    advapi32.CryptReleaseContext(context, 0)


def leak(name: str | None = None) -> None:
    """Release a context with two keys under it."""
    context = acquire(name)
    for _ in range(2):
        key = ctypes.c_size_t()
        assert advapi32.CryptGenKey(context, 0x6610, 0, ctypes.byref(key))
    advapi32.CryptReleaseContext(context, 0)


def test_one_class_for_each_misuse() -> None:
    """Every misuse code has a class of its own, and every class a code that exists."""
    codes = [cls.code for cls in MISUSES]

    assert sorted(codes) == sorted(code for code in Code if code.is_misuse)
    assert len(set(codes)) == len(codes)


def test_everything_descends_from_one_class() -> None:
    """One `except` catches whatever csptrace raises; leaks and misuses can be told apart."""
    for cls in ALL:
        base = errors.CspTraceWarning if issubclass(cls, Warning) else errors.CspTraceError
        assert issubclass(cls, base)
        assert cls.__doc__
    assert not issubclass(csptrace.HandleLeak, csptrace.HandleError)
    assert not issubclass(errors.CspTraceError, OSError)


def test_misuse_is_raised_with_its_finding(trace: Trace) -> None:
    """A misuse raises the class of its code, with the text of the finding and the finding."""
    tracer = trace()
    with pytest.raises(csptrace.DoubleRelease) as caught:
        release_twice()

    (finding,) = tracer.check()
    assert caught.value.finding is finding
    assert str(caught.value) == tracer.explain(finding)
    assert caught.value.args == (str(caught.value),)
    assert caught.value.code == finding.code == "double-release"


def test_leaks_are_raised_together(trace: Trace) -> None:
    """With `on_leak="raise"` one error lists every handle that a release has leaked."""
    tracer = trace(on_leak="raise")
    with pytest.raises(csptrace.HandleLeak) as caught:
        leak()

    assert caught.value.findings == tracer.check()
    assert len(caught.value.findings) == 2
    assert str(caught.value).startswith("2 handles were leaked\nleaked-at-release: HCRYPTKEY ")
    assert csptrace.current() is tracer


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_can_be_pickled(protocol: int, trace: Trace) -> None:
    """An error crosses a process boundary as class and text (multiprocessing, pytest-xdist)."""
    trace(on_leak="raise")
    raised: list[csptrace.CspTraceError] = []
    for wrong in (release_twice, leak):
        with pytest.raises(csptrace.CspTraceError) as caught:
            wrong()
        raised.append(caught.value)

    for error in raised:
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert str(copy.copy(error)) == str(error)
    assert again.findings == ()


def test_plain_errors_can_be_pickled() -> None:
    """So do the errors that carry nothing but their text."""
    for cls in ALL:
        if cls in MISUSES or cls in (csptrace.HandleLeak, csptrace.HandleError):
            continue
        again = pickle.loads(pickle.dumps(cls("text")))
        assert (type(again), str(again)) == (cls, "text")


def test_warnings(trace: Trace) -> None:
    """With `warn` the same texts are warnings, and the native calls are made."""
    tracer = trace(on_leak="warn", on_misuse="warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        leak()
        release_twice()

    assert [warning.category for warning in caught] == [
        csptrace.LeakWarning,
        csptrace.MisuseWarning,
    ]
    *_, misuse = tracer.check()
    assert str(caught[1].message) == tracer.explain(misuse)
    assert {warning.filename for warning in caught} == {__file__}, "they point at the program"


@pytest.mark.parametrize("how", ["explain", "misuse", "misuse warning", "leak", "leak warning"])
def test_redacted_names_in_errors(how: str, trace: Trace) -> None:
    """With `redact_names` no error, warning or explanation has a container's name."""
    reaction = "warn" if "warning" in how else "log" if how == "explain" else "raise"
    tracer = trace(redact_names=True, on_leak=reaction, on_misuse=reaction)
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if "leak" in how:
                with tracer.scope("scope"):
                    acquire(SECRETIVE)
            else:
                release_twice(SECRETIVE)
        except csptrace.CspTraceError as error:
            texts += [str(error), repr(error)]
    texts += [str(warning.message) for warning in caught]
    texts += [tracer.explain(finding) for finding in tracer.check()]

    assert len(texts) >= (1 if how == "explain" else 2)
    assert "<redacted>" in "".join(texts)
    assert SECRETIVE not in "".join(texts)


def test_finding_is_frozen(trace: Trace) -> None:
    """A finding cannot be changed by whoever gets it."""
    tracer = trace(on_misuse="log")
    release_twice()
    finding: Any = tracer.check()[0]

    with pytest.raises(AttributeError):
        finding.code = Code.LOST


def test_a_message_need_not_be_a_text() -> None:
    """Whatever is passed is shown as a text."""
    assert str(csptrace.CspTraceError(OSError("gone"))) == "gone"  # type: ignore[arg-type]
