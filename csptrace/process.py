"""The tracer of this process: one at most, judged when the process ends, carried across forks."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from csptrace import forks
from csptrace.errors import ActivationError
from csptrace.findings.errors import HandleLeak, LeakWarning
from csptrace.graph.sites import CallSite
from csptrace.install.targets import when_imported
from csptrace.intercept.contract import Sheltered, is_deliberate
from csptrace.settings import Settings
from csptrace.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from csptrace.findings.finding import Finding

__all__ = ["current", "start", "stop", "trace_library", "tracing"]

__tracebackhide__ = is_deliberate

_current: Tracer | None = None
_switch = forks.lock()
_hooks_registered = False


def current() -> Tracer | None:
    """Return the tracer that is active in this process, `None` if there is none."""
    return _current


def start(settings: Settings | None = None, **given: Any) -> Tracer:
    """Start tracing this process.

    Args:
        settings: how to trace; read from the environment and `pyproject.toml` if not given.
        given: single settings, which win over both; only without `settings`.

    Returns:
        The tracer. If one is active and no settings are given, that one.

    Raises:
        SettingsError: an unknown setting or value.
        ActivationError: a tracer is active already and settings are given, or both forms are.
    """
    global _current, _hooks_registered  # noqa: PLW0603 - the one tracer of the process
    with _switch:
        if _current is not None:
            if settings is None and not given:
                return _current
            raise ActivationError(
                "csptrace is tracing already; call csptrace.stop() first, or start without "
                "settings to get the active tracer"
            )
        passed: list[str] = []
        if settings is None:
            settings = Settings.load(complain=passed.append, **given)
        elif given:
            raise ActivationError("start: give either a Settings object or single settings")
        tracer = Tracer(settings)
        tracer.start()
        for message in passed:
            tracer.diagnostics.complain("settings", message)
        _current = tracer
        if not _hooks_registered:
            _hooks_registered = True
            atexit.register(_at_exit)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_after_fork_in_child)
            when_imported("multiprocessing.util", _end_with_multiprocessing)
        return tracer


def stop() -> list[Finding]:
    """Stop tracing, take every patch back, and write the summary.

    Returns:
        The handles that were leaked at exit; empty if nothing was traced.

    Raises:
        HandleLeak: something leaked and `on_leak` is `raise`.
    """
    global _current
    with _switch:  # to the end: a child that is forked meanwhile would have half a tracer
        tracer, _current = _current, None
        return [] if tracer is None else _stopped(tracer)


@contextmanager
def tracing(**given: Any) -> Iterator[Tracer]:
    """Trace a block.

    Inside a traced process and without settings this opens a scope of the active tracer, so that
    the block is judged by itself.

    Args:
        given: settings.

    Yields:
        The tracer.

    Raises:
        SettingsError: an unknown setting or value.
        ActivationError: a tracer is active already and settings are given.
        HandleLeak: the block leaked, `on_leak` is `raise`, and it raised nothing itself.
    """
    if _current is not None and not given:
        with _current.scope("tracing"):
            yield _current
        return
    tracer = start(**given)
    try:
        yield tracer
    except BaseException:
        # The leak is recorded; the block's own exception is the one to see.
        with suppress(HandleLeak, LeakWarning):
            _end(tracer)
        raise
    else:
        _end(tracer)


def _end(tracer: Tracer) -> None:
    global _current  # noqa: PLW0603 - as above
    with _switch:
        if _current is tracer:
            _current = None
        _stopped(tracer)


def _stopped(tracer: Tracer) -> list[Finding]:
    """Stop a tracer; if the program's own exception forestalls that, it can be stopped again."""
    global _current  # noqa: PLW0603 - as above
    try:
        return tracer.stop()
    finally:
        if tracer.recorder.active:
            _current = tracer


def trace_library(library: Any, api: str) -> Any:
    """Trace a library object that csptrace cannot find by itself.

    Args:
        library: a ctypes library, a cffi ABI-mode library, or the `lib` of a compiled cffi module.
        api: the name of the spec that describes its functions (`"cryptoapi"`).

    Returns:
        What to use in place of `library`: the same object, or a proxy for a compiled cffi library.
        While nothing is traced, `library` itself.

    Raises:
        ActivationError: an unknown API or an object that is no library.
    """
    tracer = _current
    return library if tracer is None else tracer.trace_library(library, api)


class _ExitStatus:
    """Ends the process with a status when the interpreter takes its modules apart.

    By then every exit handler has run and the standard streams are flushed; an exit handler cannot
    change the status, and one that ended the process would keep the others from running.
    """

    def __init__(self, code: int) -> None:
        self.code = code

    def __del__(self, leave: Callable[[int], object] = os._exit) -> None:
        leave(self.code)


_last_word: _ExitStatus | None = None


def _at_exit() -> None:
    global _current, _last_word  # noqa: PLW0603 - as above
    with _switch:
        tracer, _current = _current, None
        if tracer is None:
            return
        with Sheltered(tracer.diagnostics, CallSite("the end of the process", "", "")):
            tracer.stop(exiting=True)
    code = tracer.settings.exit_code
    failed = tracer.program_status or getattr(sys, "last_value", None) is not None
    if code and tracer.reporter.serious and not failed:
        _last_word = _ExitStatus(code)


def _end_with_multiprocessing(util: Any) -> None:
    """Judge what is left in worker processes, too, which multiprocessing ends with `os._exit`."""

    def in_child(_key: object) -> None:
        # Last of all its finalizers, which may still release handles.
        util.Finalize(None, _at_exit, exitpriority=-1_000_000)

    # A program may have put a module of its own in its place.
    with suppress(AttributeError):
        util.register_after_fork(_end_with_multiprocessing, in_child)


def _after_fork_in_child() -> None:
    if _current is not None:
        _current.after_fork_in_child()
