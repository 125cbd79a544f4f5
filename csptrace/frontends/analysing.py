"""What the commands that read logs have in common: options, progress, and output in one piece."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from csptrace.analysis import engines
from csptrace.analysis.partials import default_folder
from csptrace.analysis.render import FORMATS, Options
from csptrace.errors import AnalysisError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from csptrace.analysis.embedded import Progress
    from csptrace.analysis.results import Report

__all__ = [
    "add_engine",
    "add_output",
    "analyse",
    "form_options",
    "interruptible",
    "replacing",
    "show",
]


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how logs are read."""
    group = parser.add_argument_group("reading")
    group.add_argument(
        "--engine",
        default="duckdb",
        metavar="ENGINE",
        help="duckdb (default), spark, or spark://host:port for a cluster",
    )
    group.add_argument(
        "--memory-limit",
        default="1GB",
        metavar="SIZE",
        help="how much memory duckdb may use (default 1GB); what does not fit goes to disk",
    )
    group.add_argument(
        "--cache",
        metavar="DIR",
        help="where answers for unchanged logs are kept (default: the user's cache folder)",
    )
    group.add_argument("--no-cache", action="store_true", help="keep nothing, read everything")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is shown, and where."""
    forms = ", ".join(f"{form.name} ({form.about})" for form in FORMATS.values())
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format",
        choices=tuple(FORMATS),
        default=next(iter(FORMATS)),
        metavar="NAME",
        help=f"one of: {forms}",
    )
    group.add_argument(
        "-o", "--output", metavar="FILE", help="write into this file, all of it or nothing"
    )
    group.add_argument(
        "-v", "--verbose", action="count", default=0, help="every finding; twice: every frame"
    )
    group.add_argument("--title", default="csptrace", help="stands at the top")
    group.add_argument(
        "--source", default="", metavar="DIR", help="quote source lines of files in this folder"
    )
    group.add_argument(
        "--weight",
        choices=("acquired", "leaked", "live"),
        default="leaked",
        help="what a stack weighs in a flame graph (default leaked)",
    )


def analyse(options: argparse.Namespace, names: Sequence[str], run: str = "") -> Report:
    """Read logs as the options say, with progress on a terminal.

    Args:
        options: the parsed command line.
        names: files, folders and patterns.
        run: whose handle graph is wanted, empty for the one with the most findings.

    Returns:
        The report.

    Raises:
        AnalysisError: they cannot be analysed.
        MissingExtraError: a package is not installed.
    """
    with _progress() as tell:
        return engines.analyse(
            names,
            engine=options.engine,
            run=run,
            memory=engines.size(options.memory_limit),
            cache="" if options.no_cache else options.cache or default_folder(),
            progress=tell,
        )


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Show a bar on stderr while logs are read, if stderr is a terminal and rich is there."""
    if not sys.stderr.isatty():
        yield lambda _progress: None
        return
    try:
        from rich import console, progress  # noqa: PLC0415 - an extra
    except ImportError:
        yield lambda _progress: None
        return
    bar = progress.Progress(
        progress.SpinnerColumn(),
        progress.BarColumn(),
        progress.TextColumn("{task.description}"),
        progress.TimeRemainingColumn(compact=True),
        console=console.Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("reading logs", total=None)

    def tell(now: Progress) -> None:
        bar.update(
            task,
            total=now.of_size,
            completed=now.size,
            description=f"{now.files} of {now.of_files} files, {now.events:,} events",
        )

    with bar:
        yield tell


def form_options(options: argparse.Namespace) -> Options:
    """Return how a result is shown: width and colours of the terminal only if it goes there."""
    there = options.output is None and sys.stdout.isatty()
    colour = there or bool(os.environ.get("FORCE_COLOR"))
    return Options(
        title=options.title,
        width=shutil.get_terminal_size().columns if there or "COLUMNS" in os.environ else 100,
        colour=colour and not os.environ.get("NO_COLOR"),
        verbosity=options.verbose,
        source_root=options.source,
        weight=options.weight,
        generated=time.time_ns() if options.format == "html" else 0,
    )


def show(text: str, output: str | None) -> None:
    """Write a rendered result to stdout or into a file, never half of it.

    Args:
        text: the result.
        output: the file, `None` for stdout.

    Raises:
        AnalysisError: the file cannot be written.
    """
    if output is not None:
        with replacing(output) as file:
            file.write(text.encode("utf-8", "backslashreplace"))
        return
    if hasattr(sys.stdout, "reconfigure"):
        # What the terminal's character set lacks must not end in a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def replacing(path: str) -> Iterator[Any]:
    """Open a file for writing that appears under its name only when it is complete.

    Args:
        path: the file; replaced if it exists.

    Yields:
        The binary file.

    Raises:
        AnalysisError: it cannot be written.
    """
    waiting = ""
    try:
        folder = os.path.dirname(os.path.abspath(path))
        if os.path.isdir(path):
            raise IsADirectoryError(0, "it is a folder")
        if os.path.exists(path) and not os.path.isfile(path):  # /dev/stdout, a pipe
            with open(path, "wb") as file:
                yield file
            return
        handle, waiting = tempfile.mkstemp(prefix=".csptrace-", dir=folder)
        with open(handle, "wb") as file:
            yield file
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(waiting, 0o666 & ~mask)
        os.replace(waiting, path)
        waiting = ""
    except OSError as error:
        raise AnalysisError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if waiting:
            with contextlib.suppress(OSError):
                os.unlink(waiting)


@contextmanager
def interruptible(status: list[int]) -> Iterator[None]:
    """Turn Ctrl-C into a line and the customary exit status.

    Args:
        status: its only element becomes 130.

    Yields:
        Nothing.
    """
    try:
        yield
    except KeyboardInterrupt:
        status[0] = 130
        print("csptrace: interrupted; nothing was written", file=sys.stderr)  # noqa: T201
