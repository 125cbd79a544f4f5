"""What the commands that read logs have in common: options, progress, and output in one piece."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from csptrace.analysis import engines, reading
from csptrace.analysis.cache_folder import default_folder
from csptrace.analysis.render import FORMATS, Options
from csptrace.errors import AnalysisError
from csptrace.files import replacing
from csptrace.terminal import complain, pass_on

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from csptrace.analysis.embedded import Progress
    from csptrace.analysis.results import Report

__all__ = [
    "add_engine",
    "add_output",
    "analyse",
    "check_output",
    "form_options",
    "interruptible",
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
        from rich import progress  # noqa: PLC0415 - an extra

        from csptrace.analysis.render.console import Console  # noqa: PLC0415 - it needs rich
    except ImportError:
        yield lambda _progress: None
        return
    bar = progress.Progress(
        progress.SpinnerColumn(),
        progress.BarColumn(),
        progress.TextColumn("{task.description}"),
        progress.TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
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


def check_output(output: str | None, names: Sequence[str] = ()) -> None:
    """See to it that a result takes the place of no log, before hours of reading.

    Args:
        output: the file, `None` for stdout.
        names: the files, folders and patterns that are to be read.

    Raises:
        AnalysisError: there is an event log of that name, plain, compressed or Parquet, or it is
            among what is to be read.
    """
    if output is None or not os.path.isfile(output):
        return
    if reading.is_log(output) or (names and reading.is_among(output, names)):
        raise AnalysisError(f"{output} is a log and is not overwritten; name another file with -o")


def show(text: str, output: str | None) -> None:
    """Write a rendered result to stdout or into a file, never half of it.

    Args:
        text: the result.
        output: the file, `None` for stdout.

    Raises:
        AnalysisError: the file cannot be written.
    """
    if output is not None:
        check_output(output)
        try:
            with replacing(output) as file:
                file.write(text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise AnalysisError(f"cannot write {output}: {error.strerror or error}") from error
        return
    pass_on(text, sys.stdout)


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
        complain("csptrace: interrupted; nothing was written")
