"""One frozen `Settings`; the only reader of the environment and of `[tool.csptrace]`.

Every setting has one name: a keyword of `csptrace.start()`, a key in `[tool.csptrace]` of
`pyproject.toml`, and, in capitals behind `CSPTRACE_`, an environment variable. The environment
wins over the file, a keyword over both.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from csptrace import projectfile
from csptrace.errors import SettingsError
from csptrace.tomlfile import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PREFIX", "SWITCH", "Settings", "is_active"]

SWITCH: Final = "CSPTRACE"
PREFIX: Final = "CSPTRACE_"
_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"", "0", "false", "no", "off"})
_LIST: Final = "a list of names (separated by commas in the environment)"
_YEAR: Final = 31_536_000
_EXTERNAL: Final = frozenset({"CSPTRACE_REQUIRE", "CSPTRACE_WINE_CACHE"})
"""Variables that the test suite reads; not settings."""


def is_active(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the environment asks for tracing.

    Args:
        environ: the environment.

    Raises:
        SettingsError: `CSPTRACE` is neither a yes nor a no.
    """
    return _flag(SWITCH, environ.get(SWITCH, ""))


def _flag(name: str, value: object) -> bool:
    text = _text(value)
    if text in _YES:
        return True
    if text in _NO:
        return False
    raise SettingsError(f"{name} = {shown(value)}: allowed are 1, true, yes, on, 0, false, no, off")


def _text(value: object) -> str:
    try:
        return str(value).strip().lower()
    except (RecursionError, ValueError):  # a number of thousands of digits
        return "\0"  # which is nothing that is allowed


def _choice(*allowed: str) -> Callable[[str, object], str]:
    def read(name: str, value: object) -> str:
        text = _text(value)
        if text not in allowed:
            raise SettingsError(f"{name} = {shown(value)}: allowed are {', '.join(allowed)}")
        return text

    return read


def _number(least: int, most: int, unit: str = "") -> Callable[[str, object], int]:
    def read(name: str, value: object) -> int:
        try:
            number = int(_text(value))
        except ValueError:
            number = least - 1
        if isinstance(value, bool) or not least <= number <= most:
            raise SettingsError(
                f"{name} = {shown(value)}: allowed is a whole number{unit} from {least} to {most}"
            )
        return number

    return read


def _seconds(name: str, value: object) -> float:
    try:
        number = float(_text(value))
    except ValueError:
        number = -1.0
    if isinstance(value, bool) or not 0 <= number <= _YEAR:
        raise SettingsError(
            f"{name} = {shown(value)}: allowed is a number of seconds from 0 (off) to {_YEAR}"
        )
    return number


def _names(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = (value,)
    elif isinstance(value, set | frozenset):
        value = sorted(value, key=str)  # the same order in every run
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        # A comma separates inside a list too, since the environment knows no other form.
        parts = (part.strip() for text in value for part in text.split(","))
        return tuple(part for part in parts if part)
    raise SettingsError(f"{name} = {shown(value)}: allowed is {_LIST}")


def _path(what: str) -> Callable[[str, object], Path | None]:
    def read(name: str, value: object) -> Path | None:
        if value is None or value == "":
            return None
        if isinstance(value, str | os.PathLike):
            text = os.fsdecode(value)
            if "\0" not in text:
                try:
                    return Path(os.path.expanduser(text)).absolute()
                except OSError as error:
                    raise SettingsError(
                        f"{name} = {shown(value)}: allowed is the full path of a {what}, because "
                        "the working directory is gone"
                    ) from error
        raise SettingsError(f"{name} = {shown(value)}: allowed is the path of a {what}")

    return read


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How to trace.

    Attributes:
        log: folder for event logs, one file per process; `None` writes no log.
        log_rotate: go on in another file when an event log has so many megabytes; 0 for never.
        level: `count` (no stacks), `acquire` (stacks of acquisition and release) or `full` (also
            of the last use).
        on_leak: `log`, `warn` or `raise`.
        on_misuse: `log`, `warn`, `fatal` or `raise`; raising happens before the native call, with
            `fatal` only where that would crash the process.
        exit_code: exit status of the process if there were findings; 0 leaves it alone.
        depth: how many frames of a stack are kept.
        apis: names of the specs to trace; empty for all.
        libraries: further libraries that export traced functions (`libcapi20.so`).
        include: report only findings whose stacks touch one of these packages.
        exclude: frames of these packages are never "your code"; findings with no other code of
            yours are not reported.
        baseline: file with findings that are accepted for now; they do not count for `exit_code`.
        tombstones: how many ended handles are remembered, to recognise a late use.
        causes: watch how functions that have handles are left, to say why a handle leaked; has no
            effect at level `count`, nor on Python 3.11.
        held_too_long: report a handle that is older than this many seconds while still alive; 0
            reports none.
        redact_names: replace the names of key containers in everything that is written.
        quiet: write nothing to stderr.
        strict: let internal errors of the tracer out, for its own tests.
        implied: how bad it is to leave a release to the parent's, where the API says that it
            destroys it (PKCS#11 session objects): `ignore`, `info` or `warning`.
        session_limit: how many sessions a token allows; 0 asks the token.
        session_share: percentage of that limit at which many open sessions are complained of; 0
            never does.
    """

    log: Path | None = None
    log_rotate: int = 0
    level: str = "acquire"
    on_leak: str = "log"
    on_misuse: str = "raise"
    exit_code: int = 0
    depth: int = 16
    apis: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    baseline: Path | None = None
    tombstones: int = 65_536
    causes: bool = True
    held_too_long: float = 0.0
    redact_names: bool = False
    quiet: bool = False
    strict: bool = False
    implied: str = "info"
    session_limit: int = 0
    session_share: int = 80

    def __post_init__(self) -> None:
        """Check every value, also of settings that were not loaded but made or replaced.

        Raises:
            SettingsError: a value that is not allowed.
        """
        for name, reader in _READERS.items():
            object.__setattr__(self, name, reader(name, getattr(self, name)))

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] = os.environ,
        folder: Path | None = None,
        complain: Callable[[str], None] | None = None,
        **given: Any,
    ) -> Settings:
        """Read the settings from all three places.

        Args:
            environ: the environment.
            folder: where to look for `pyproject.toml`, and above it within the project
                (`csptrace.projectfile`); the working directory if not given.
            complain: is told, once each, why a file that has settings does not count.
            given: keywords; `None` counts as not given.

        Returns:
            The checked settings.

        Raises:
            SettingsError: an unknown name, a value that is not allowed, an unreadable file.
        """
        values: dict[str, Any] = {}
        found = projectfile.find(folder)
        for name, value in found.table.items():
            values[name] = _read(name, value, f"{found.file}: [tool.csptrace] {name}")
        if complain is not None:
            for message in found.passed:
                complain(message)
        for variable, value in environ.items():
            if variable.startswith(PREFIX) and variable not in _EXTERNAL:
                name = variable.removeprefix(PREFIX).lower()
                values[name] = _read(name, value, variable)
        for name, value in given.items():
            if value is not None:
                values[name] = _read(name, value, name)
        return cls(**values)

    def environment(self) -> dict[str, str]:
        """Return the variables that make a child process trace with the same settings.

        Defaults are among them: a file that the child finds must not change them.
        """
        environ = {SWITCH: "1"}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                text = ",".join(value)
            elif isinstance(value, bool):
                text = "1" if value else "0"
            else:
                text = "" if value is None else str(value)
            environ[PREFIX + field.name.upper()] = text
        return environ


_READERS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "log": _path("folder"),
    "log_rotate": _number(0, 1_000_000, " of megabytes"),
    "level": _choice("count", "acquire", "full"),
    "on_leak": _choice("log", "warn", "raise"),
    "on_misuse": _choice("log", "warn", "fatal", "raise"),
    "exit_code": _number(0, 255),
    "depth": _number(1, 1000, " of frames"),
    "apis": _names,
    "libraries": _names,
    "include": _names,
    "exclude": _names,
    "baseline": _path("file"),
    "tombstones": _number(0, 10_000_000, " of handles"),
    "causes": _flag,
    "held_too_long": _seconds,
    "redact_names": _flag,
    "quiet": _flag,
    "strict": _flag,
    "implied": _choice("ignore", "info", "warning"),
    "session_limit": _number(0, 10_000_000, " of sessions"),
    "session_share": _number(0, 100, " of percent"),
}


def _read(name: str, value: object, where: str) -> Any:
    reader = _READERS.get(name)
    if reader is None:
        close = difflib.get_close_matches(name, _READERS, n=1)
        hint = f"did you mean {close[0]!r}? Known" if close else "known"
        raise SettingsError(
            f"{where}: unknown setting {name!r}; {hint}: {', '.join(sorted(_READERS))}"
        )
    return reader(where, value)
