"""What the user asks for: the command line, the ini file, the environment, in this order."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from csptrace.errors import CspTraceError
from csptrace.files import check_replaceable, make_folder
from csptrace.findings.catalogue import Severity
from csptrace.settings import Settings
from csptrace.terminal import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from csptrace.findings.baseline import Entry

__all__ = ["LEAK_POLICIES", "Options", "refusal"]

LEAK_POLICIES: Final = ("allow", "forbid", "only-mine")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The checked options of one run.

    Attributes:
        settings: for the tracer.
        sarif: the SARIF file, if one is wanted.
        baseline: the baseline file, if there is one.
        entries: what is in it.
        update_baseline: whether it is to be rewritten.
        strict_baseline: whether stale entries fail the run.
        require: whether a run without a traced call fails.
        soft: whether findings only are reported.
        fail_on: the lowest severity that fails a test.
        leaks: the policy of tests without a marker, empty for the usual one.
        passed: why files that have settings do not count.
    """

    settings: Settings
    sarif: Path | None
    baseline: Path | None
    entries: tuple[Entry, ...]
    update_baseline: bool
    strict_baseline: bool
    require: bool
    soft: bool
    fail_on: Severity
    leaks: str
    passed: tuple[str, ...]

    @classmethod
    def read(cls, config: pytest.Config) -> Options:
        """Read and check everything, and see to it that what is written at the end can be written.

        Args:
            config: pytest's configuration, as far as it is known before conftest files are loaded.

        Raises:
            pytest.UsageError: something is wrong; the message says what is allowed.
        """
        try:
            return cls._read(config)
        except CspTraceError as error:
            raise refusal(str(error)) from error

    @classmethod
    def _read(cls, config: pytest.Config) -> Options:
        options = config.known_args_namespace

        def path(name: str) -> Path | None:
            """Return a path; a relative one starts where it was written down."""
            given: str | None = getattr(options, name)
            folder = config.invocation_params.dir
            if not given:
                given = config.getini(name)
                folder = config.inipath.parent if config.inipath is not None else config.rootpath
            if not given:
                return None
            found = (folder / Path(given).expanduser()).absolute()
            # Workers of pytest-xdist get the options, perhaps in another folder.
            setattr(options, name, str(found))
            setattr(config.option, name, str(found))
            return found

        def flag(name: str) -> bool:
            return bool(getattr(options, name) or config.getini(name))

        def packages(name: str) -> list[str] | None:
            return getattr(options, name) or config.getini(name) or None

        log = path("csptrace_log")
        passed: list[str] = []
        settings = Settings.load(
            folder=config.rootpath,
            complain=passed.append,
            log=log,
            include=packages("csptrace_include"),
            exclude=packages("csptrace_exclude"),
            quiet=True,
        )
        settings = dataclasses.replace(settings, exit_code=0)
        soft = flag("csptrace_soft")
        if soft:
            misuse = "log" if settings.on_misuse == "log" else "fatal"
            settings = dataclasses.replace(settings, on_leak="log", on_misuse=misuse)
        sarif = path("csptrace_sarif")
        known = path("csptrace_baseline") or settings.baseline
        update = bool(options.csptrace_update_baseline)
        if update and known is None:
            raise refusal("--csptrace-update-baseline: which file? Add --csptrace-baseline FILE")
        return cls(
            settings=settings,
            sarif=sarif,
            baseline=known,
            entries=_entries(known),
            update_baseline=update,
            strict_baseline=flag("csptrace_strict_baseline"),
            require=flag("csptrace_require"),
            soft=soft,
            fail_on=Severity(
                _choice(
                    "csptrace_fail_on",
                    options.csptrace_fail_on or config.getini("csptrace_fail_on") or "warning",
                    [level.value for level in Severity],
                )
            ),
            leaks=_choice("csptrace_leaks", config.getini("csptrace_leaks"), ["", *LEAK_POLICIES]),
            passed=tuple(passed),
        )

    def check_files(self) -> None:
        """See to it that what is written at the end can be written; the workers need not.

        Raises:
            pytest.UsageError: it cannot, or the baseline does not exist.
        """
        if self.settings.log is not None:
            _check("--csptrace-log", self.settings.log, _check_folder)
        if self.sarif is not None:
            _check("--csptrace-sarif", self.sarif, _check_file)
        if self.baseline is None:
            return
        if self.update_baseline:
            from csptrace.findings import baseline  # noqa: PLC0415 - only where there is one

            try:
                baseline.check_writable(self.baseline)
            except CspTraceError as error:
                raise refusal(str(error)) from error
        elif not self.baseline.exists():
            raise refusal(
                f"--csptrace-baseline: {self.baseline} does not exist; make it with "
                "--csptrace-update-baseline"
            )


def refusal(text: str) -> pytest.UsageError:
    """Return the error by which pytest does not start.

    Args:
        text: what is wrong; pytest shows it as it is, so it is escaped here.
    """
    return pytest.UsageError(escape(f"csptrace: {text}"))


def _entries(known: Path | None) -> tuple[Entry, ...]:
    if known is None:
        return ()
    from csptrace.findings import baseline  # noqa: PLC0415 - only where there is one

    return baseline.read(known)


def _choice(name: str, value: str, allowed: list[str]) -> str:
    if value not in allowed:
        raise refusal(f"{name} = {value!r}: allowed are {', '.join(filter(None, allowed))}")
    return value


def _check(option: str, path: Path, attempt: Callable[[Path], Any]) -> None:
    """Try now what will be done at the end."""
    try:
        attempt(path)
    except OSError as error:
        raise refusal(f"{option}: {path} cannot be written: {error.strerror or error}") from error


def _check_folder(path: Path) -> None:
    make_folder(path)
    with tempfile.TemporaryFile(dir=path):
        pass


def _check_file(path: Path) -> None:
    make_folder(path.parent)
    check_replaceable(path)
    from csptrace.analysis import reading  # noqa: PLC0415 - only where a file is wanted

    if path.is_file() and reading.is_log(str(path)):
        raise FileExistsError(0, "it is a log and is not overwritten; name another file")
