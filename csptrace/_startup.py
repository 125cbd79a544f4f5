"""What the start-up files call in every interpreter. Standard library only until `CSPTRACE` is set.

`zz_csptrace.pth` (Python up to 3.16) and `zz_csptrace.start` (PEP 829, Python 3.15 and later) name
the same function; in a virtual environment the first is executed twice, so it must be idempotent.
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
    """
    if "CSPTRACE" not in os.environ or state["ran"]:
        return
    if os.environ["CSPTRACE"].strip().lower() in ("", "0", "false", "no", "off"):
        return
    state["ran"] = "yes"
    try:
        if _elevated():
            raise PermissionError("not in a set-user-ID or set-group-ID process")  # noqa: TRY301
        from csptrace.settings import Settings, is_active  # noqa: PLC0415 - see above

        if is_active():
            settings = Settings.load()
            from csptrace import process  # noqa: PLC0415 - see above

            process.start(settings)
    except Exception as error:
        state["error"] = f"{type(error).__name__}: {error}"
        if os.environ.get("CSPTRACE_STRICT") == "1":
            raise
        _say(f"csptrace: not tracing: {error} (see: {sys.executable} -m csptrace doctor)")


def _elevated() -> bool:
    """Return whether the environment comes from somebody with fewer rights than the process."""
    if sys.platform == "win32":
        return False
    return os.geteuid() != os.getuid() or os.getegid() != os.getgid()


def _say(line: str) -> None:
    try:
        sys.stderr.write(line + "\n")
    except (AttributeError, OSError, ValueError):
        return  # no stderr at all (pythonw): nothing to say it on
