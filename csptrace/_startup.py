"""What the start-up file calls where `CSPTRACE` is set. Standard library only until it is a yes.

`zz_csptrace.pth` is executed up to Python 3.17 and ignored from 3.18 on (PEP 829). In a virtual
environment it is executed twice, so the function must be idempotent. There is no `.start` file, as
Python 3.15 and later read: it can ask for nothing before it imports, so that each interpreter would
import csptrace, and pytest could not rewrite the assertions of its plugin any more.
"""

from __future__ import annotations

import os
import sys

__all__ = ["start", "state"]

state = {"ran": "", "error": ""}
"""What happened at start-up, for `csptrace doctor`."""


def start() -> None:
    """Start tracing if the environment asks for it.

    Nothing is raised and tracing stays off when something is wrong; one line on stderr says what.
    That holds for every exception of every sort, since this runs code of others: finders of
    modules (`sys.meta_path`), what csptrace needs (wrapt, structlog, orjson), specs of other
    packages, and the modules that are patched because they are there already. Only what a signal
    raises meanwhile, which is the user's Ctrl-C, ends the interpreter as it would have without.
    """
    if "CSPTRACE" not in os.environ or state["ran"]:
        return
    if os.environ["CSPTRACE"].strip().lower() in ("", "0", "false", "no", "off"):
        return
    state["ran"] = "yes"
    try:
        if _elevated():
            raise PermissionError("not in a set-user-ID or set-group-ID process")  # noqa: TRY301
        from csptrace.settings import is_active  # noqa: PLC0415 - see above

        if is_active():
            from csptrace import process  # noqa: PLC0415 - see above

            process.start()
    except BaseException as error:
        if os.environ.get("CSPTRACE_STRICT") == "1" or _by_signal(error):
            raise
        state["error"] = f"{type(error).__name__}: {_words(error)}"
        _say(f"csptrace: not tracing: {_words(error)} (see: {sys.executable} -m csptrace doctor)")


def _by_signal(error: BaseException) -> bool:
    if isinstance(error, Exception):  # the parts that would tell may be what is missing
        return False
    from csptrace.interruption import came_by_signal  # noqa: PLC0415 - see above

    return came_by_signal(error)


def _words(error: BaseException) -> str:
    name = type(error).__name__
    try:
        return str(error) or name
    except Exception:  # noqa: BLE001 - an error of others need not have words
        return name
    except BaseException as second:
        if _by_signal(second):
            raise
        return name


def _elevated() -> bool:
    """Return whether the environment comes from somebody with fewer rights than the process."""
    if sys.platform == "win32":
        return False
    return os.geteuid() != os.getuid() or os.getegid() != os.getgid()


def _say(line: str) -> None:
    from csptrace import terminal  # noqa: PLC0415 - see above

    terminal.complain(line)
