"""What csptrace says of itself: what it cannot do, and its own bugs.

The tracer may break, the program may not: a bug is said once, with its traceback, and the program
goes on. With the setting `strict` it is raised.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

import csptrace
from csptrace.events.sink import Notice
from csptrace.graph.sites import CallSite
from csptrace.intercept.contract import Sheltered

if TYPE_CHECKING:
    from collections.abc import Callable

    from csptrace.settings import Settings

__all__ = ["Diagnostics", "is_foreign", "trace_of"]


class Diagnostics:
    """Complaints, each made once, and what is to be done about the tracer's own bugs.

    Args:
        settings: `strict`, and what is raised otherwise.
        tell: passes a notice on; set once there is somebody to tell.

    Attributes:
        settings: as above.
        tell: as above.
        doubtful: whether an internal error may have made a correct call look wrong since.
    """

    def __init__(self, settings: Settings, tell: Callable[[Notice], None]) -> None:
        self.settings = settings
        self.tell = tell
        self.doubtful = False
        self._complaints: dict[str, Notice] = {}
        self._broken: set[str] = set()

    def complaints(self, code: str = "") -> list[str]:
        """Return what was complained of.

        Args:
            code: the sort of complaint, `internal` for internal errors; empty for all.
        """
        known = list(self._complaints.values())
        return [notice.message for notice in known if not code or notice.code == code]

    def notices(self) -> list[Notice]:
        """Return what was complained of so far."""
        return list(self._complaints.values())

    def complain(self, code: str, line: str, *more: str) -> None:
        """Say once what csptrace cannot do, as far as that is possible.

        Args:
            code: a short name of the sort of complaint.
            line: what happened, where, and what to do next.
            more: further lines.
        """
        notice = Notice(code, line, more)
        if notice.message in self._complaints:
            return
        self._complaints[notice.message] = notice
        try:
            self.tell(notice)
        except Exception as error:
            if self.settings.strict or is_foreign(error):
                raise

    def broken(self, site: CallSite, error: BaseException) -> None:
        """Note a bug of the tracer itself; the program goes on.

        What was missed may make a correct call look wrong. From here on, misuse and leaks are
        logged, but neither raised nor counted for the exit status.

        Args:
            site: what was done.
            error: what was raised.

        Raises:
            BaseException: the error itself, if it is not the tracer's own (the program's signal
                handler has raised while the tracer was at work), or with the setting `strict`.
        """
        if is_foreign(error):
            raise error
        self.doubtful = True
        self.complain_of_bug(site, error)

    def patching_failed(self, what: str, error: BaseException) -> None:
        """Note that a target could not be patched.

        Args:
            what: the target.
            error: what was raised.
        """
        self.doubtful = True
        self.complain_of_bug(CallSite(f"patching {what}", "", ""), error)

    def broken_description(self, error: Exception) -> None:
        """Note a bug in describing a finding; it is reported with what is certain about it."""
        if not isinstance(error, RecursionError):
            self.broken(CallSite("describing a finding", "", ""), error)

    def sheltered(self, what: str) -> Sheltered:
        """Return a block in which a bug of the tracer is noted and goes no further.

        Args:
            what: what is done in it, as a complaint names it.
        """
        return Sheltered(self, CallSite(what, "", ""))

    def complain_of_bug(self, site: CallSite, error: BaseException) -> None:
        """Say once for each place that csptrace has a bug there.

        Args:
            site: what was done.
            error: what was raised.

        Raises:
            BaseException: the error itself, with the setting `strict`.
        """
        if self.settings.strict:
            raise error
        where = f"{site.binding}.{site.call}" if site.binding else site.call
        if where in self._broken:
            return
        self._broken.add(where)
        then = ""
        if self.doubtful and "raise" in (self.settings.on_misuse, self.settings.on_leak):
            then = ", and nothing is raised any more"
        self.complain(
            "internal",
            f"internal error in {where}; what it traces may be incomplete from here on{then}, the "
            "program is not affected:",
            *trace_of(error).split("\n"),
        )


def trace_of(error: BaseException) -> str:
    """Return where an exception came from, and its type.

    Not its text, which may quote what the program has passed.
    """
    name = type(error).__name__
    try:
        return "".join(traceback.format_tb(error.__traceback__)) + name
    except Exception:  # noqa: BLE001 - whatever is missing to read the sources
        return name


def is_foreign(error: BaseException) -> bool:
    """Return whether an exception comes from code that is neither csptrace nor what it calls."""
    if isinstance(error, RecursionError):
        return False  # wherever it is noticed, it was the tracer that went a step too deep
    root = type(error).__module__.partition(".")[0]
    if root not in ("csptrace", "orjson", "structlog") and root not in sys.stdlib_module_names:
        return True  # set from another thread, it has no frame of its own
    own = (_HERE, *filter(None, map(_folder_of, ("structlog", "wrapt"))))
    frame = error.__traceback__
    while frame is not None:
        name = frame.tb_frame.f_code.co_filename
        if not name.startswith(own) and ("site-packages" in name or not name.startswith(_STANDARD)):
            return True
        frame = frame.tb_next
    return False


_HERE = os.path.join(os.path.dirname(os.path.abspath(csptrace.__file__)), "")
_STANDARD = (os.path.join(os.path.dirname(os.path.abspath(os.__file__)), ""), "<")


def _folder_of(module: str) -> str:
    """Return the folder of a package that is imported, empty for one that is not."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return os.path.join(os.path.dirname(os.path.abspath(file)), "") if file else ""
