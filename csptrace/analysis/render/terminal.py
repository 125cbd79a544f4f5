"""For people, in a terminal: the worst first, readable at 80 columns."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from csptrace.analysis.grouping import siblings_text
from csptrace.analysis.render import words
from csptrace.analysis.render.escaping import shortened
from csptrace.analysis.render.places import Places, frames_of, own_first
from csptrace.errors import MissingExtraError
from csptrace.findings.catalogue import guide

try:
    from rich.padding import Padding
    from rich.rule import Rule
    from rich.table import Table

    from csptrace.analysis.render.console import Console, Text
except ImportError as error:  # pragma: no cover - tested in a process of its own
    raise MissingExtraError(
        "the report for terminals needs rich: pip install 'csptrace[report]'; "
        "--format json, html, junit and markdown do without"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from csptrace.analysis.render import Options
    from csptrace.analysis.results import Change, Comparison, Frame, Group, Place, Report, Site

__all__ = ["comparison", "report"]

_TOLD: Final = 5
_ROWS: Final = 10
_FRAMES: Final = 3
_NARROWEST: Final = 40
_ROOMY: Final = 100
_TONES: Final = {"error": "bold red", "warning": "bold yellow", "info": "bold blue"}
_MARKS: Final = {"error": "✗", "warning": "!", "info": "i"}
_WHAT: Final = {"new": "bold red", "grown": "bold yellow", "shrunk": "cyan", "fixed": "green"}
_ASIDE: Final = "dim"


def report(report: Report, options: Options) -> str:
    """Render a report.

    Args:
        report: what to show.
        options: `width`, `colour`; `verbosity` 0 tells the five worst findings and ten rows of each
            table, 1 all, 2 with the frames of libraries.
    """
    page = _Page(options, Places.of(report))
    totals = words.totals(report)
    start, end = words.span(report.runs)
    page.head(
        options.title,
        f"{words.runs_text(len(report.runs))} on {words.plural(totals.hosts, 'host')}"
        + (f", {words.since(start, end)}" if start else ""),
        f"{words.plural(totals.acquired, 'handle')} acquired, at most {totals.peak:,} alive at "
        f"once in one process, {totals.live:,} at the end",
        f"{words.plural(totals.events, 'event')} in {words.plural(len(report.sources), 'log')}",
    )
    page.verdict(report)
    page.findings(report.groups)
    page.sites(report.sites)
    page.contexts(report)
    page.held(report)
    page.runs(report)
    page.flaws(report)
    page.cost(report)
    return page.text()


def comparison(comparison: Comparison, options: Options) -> str:
    """Render a comparison: what is new or has grown is told, the rest is listed.

    Args:
        comparison: what to show.
        options: as for a report.
    """
    page = _Page(options, Places(frames_of(change.group for change in comparison.changes)))
    page.head(
        options.title,
        f"{words.runs_text(comparison.old_runs)} before, "
        f"{words.runs_text(comparison.new_runs)} now",
    )
    page.changes(comparison)
    return page.text()


class _Page:
    """Collects what is to be shown, on a console that writes into memory."""

    def __init__(self, options: Options, places: Places) -> None:
        self._options = options
        self._places = places
        self._file = io.StringIO()
        self._console = Console(
            file=self._file,
            width=max(options.width, _NARROWEST),
            color_system="standard" if options.colour else None,
            no_color=not options.colour,
            force_terminal=options.colour,
            legacy_windows=False,
            highlight=False,
            markup=False,
            emoji=False,
            _environ={},
        )

    def text(self) -> str:
        """Return all lines, without blanks at their ends."""
        lines = [line.rstrip() for line in self._file.getvalue().splitlines()]
        return "\n".join(lines).strip("\n") + "\n"

    # --- parts ---------------------------------------------------------------------------------

    def head(self, title: str, *lines: str) -> None:
        """Show the title and what was read."""
        self._print(Text(shortened(title), "bold"))
        for line in lines:
            self._print(Text(line, _ASIDE))

    def verdict(self, report: Report) -> None:
        """Show how many findings there are of each severity."""
        totals = words.totals(report)
        line = Text()
        if not report.groups:
            line.append("✓ no findings", "bold green")
        else:
            line.append(words.plural(totals.findings, "finding"), "bold")
            line.append(f" at {words.plural(totals.places, 'place')}: ")
            parts = (("error", totals.errors), ("warning", totals.warnings), ("info", totals.infos))
            shown = [(name, number) for name, number in parts if number]
            for index, (name, number) in enumerate(shown):
                line.append(", " if index else "")
                noun = words.plural(number, {"info": "note"}.get(name, name))
                line.append(f"{_MARKS[name]} {noun}", _TONES[name])
        self._print(Text())
        self._print(line)

    def findings(self, groups: Sequence[Group]) -> None:
        """Tell the worst findings, and list the rest in a table."""
        told = len(groups) if self._options.verbosity else _TOLD
        for group in groups[:told]:
            self._print(Text())
            self._tell(group)
        rest = groups[told:]
        if not rest:
            return
        self._section(f"{len(rest):,} more")
        table = self._table(("count", "right"), ("finding", ""), ("kind", ""), ("where", "place"))
        for group in rest[: 2 * _ROWS]:
            table.add_row(
                f"{group.count:,}",
                Text(shortened(group.code), _TONES.get(group.severity, "")),
                shortened(group.kind),
                Text(self._place(group.where)),
            )
        self._print(table)
        self._more(len(rest) - 2 * _ROWS)

    def changes(self, comparison: Comparison) -> None:
        """Show what changed."""
        line = Text()
        for what in words.CHANGES:
            number = sum(change.what == what for change in comparison.changes)
            line.append(f"{number:,} {what}", _WHAT[what] if number else _ASIDE)
            line.append(", ")
        line.append(f"{comparison.unchanged:,} unchanged", _ASIDE)
        self._print(Text())
        self._print(line)
        worse = [change for change in comparison.changes if change.what in ("new", "grown")]
        told = len(worse) if self._options.verbosity else 2 * _TOLD
        for change in worse[:told]:
            self._print(Text())
            self._tell(change.group, change)
        others = [change for change in comparison.changes if change not in worse[:told]]
        if not others:
            return
        self._section("also changed")
        table = self._table(("change", ""), ("count", "right"), ("finding", ""), ("where", "place"))
        limit = len(others) if self._options.verbosity else 2 * _ROWS
        for change in others[:limit]:
            table.add_row(
                Text(change.what, _WHAT.get(change.what, "")),
                f"{change.before:,} → {change.after:,}",
                Text(shortened(change.group.code)),
                Text(self._place(change.group.where) or shortened(change.group.fingerprint)),
            )
        self._print(table)
        self._more(len(others) - limit)

    def sites(self, sites: Sequence[Site]) -> None:
        """Show the acquisition sites that leak or grow; with verbosity, all."""
        shown = [site for site in sites if site.leaked or site.growth > 0]
        shown = list(sites) if self._options.verbosity else shown
        if not shown:
            return
        self._section("acquisition sites, those that leak most first")
        roomy = self._console.width >= _ROOMY
        columns = [("leaked", "right"), ("acquired", "right"), ("growth", "right")]
        columns += [("life p50 / p99", "right")] if roomy else []
        table = self._table(*columns, ("kind", ""), ("where", "place"))
        for site in self._limited(shown):
            life = site.lifetime
            lasting = f"{words.duration(life.p50)} / {words.duration(life.p99)}" if life else "·"
            table.add_row(
                Text(f"{site.leaked:,}", "bold red" if site.leaked else _ASIDE),
                f"{site.acquired:,}",
                Text(f"{site.growth:+,}" if site.growth else "·", "red" if site.growth > 0 else ""),
                *((lasting,) if roomy else ()),
                Text(shortened(site.kind, 24)),
                Text(self._place(site.where)),
            )
        self._print(table)
        self._more(len(shown) - len(self._limited(shown)))

    def contexts(self, report: Report) -> None:
        """Show the releases that took other handles with them."""
        if not report.contexts:
            return
        self._section("released with handles still under them")
        table = self._table(("under it", ""), ("released", ""), ("where", "place"))
        for context in self._limited(report.contexts):
            under = ", ".join(f"{number:,} {kind}" for kind, number in context.under)
            table.add_row(
                Text(shortened(under)),
                Text(shortened(_named(context.kind, context.value, context.name))),
                Text(self._place(context.where)),
            )
        self._print(table)
        self._more(len(report.contexts) - len(self._limited(report.contexts)))

    def held(self, report: Report) -> None:
        """Show the handles that were held longest."""
        if not report.held:
            return
        self._section("held longest")
        table = self._table(("for", "right"), ("handle", ""), ("ended", ""), ("where", "place"))
        for held in self._limited(report.held):
            table.add_row(
                words.duration(held.age),
                Text(shortened(_named(held.kind, held.value, held.name))),
                Text(shortened(held.ended), "red" if held.ended == "alive" else ""),
                Text(self._place(held.where)),
            )
        self._print(table)
        self._more(len(report.held) - len(self._limited(report.held)))

    def runs(self, report: Report) -> None:
        """Show the processes: those with the highest peaks first."""
        if not report.runs:
            return
        self._section("processes, highest peak first")
        table = self._table(
            ("peak", "right"),
            ("at end", "right"),
            ("acquired", "right"),
            ("findings", "right"),
            ("process", "fold"),
        )
        ranked = sorted(
            (run for run in report.runs if run.acquired or run.findings or self._options.verbosity),
            key=lambda run: -run.peak,
        )
        for run in self._limited(ranked):
            text = Text(shortened(f"{run.program} on {run.host}, pid {run.pid}"))
            if not run.finished:
                text.append(" (did not finish)", "yellow")
            findings = sum(number for _code, number in run.findings)
            table.add_row(
                f"{run.peak:,}",
                Text(f"{run.live:,}", "red" if run.live else _ASIDE),
                f"{run.acquired:,}",
                Text(f"{findings:,}", "red" if findings else _ASIDE),
                text,
            )
        if ranked:
            self._print(table)
        self._more(len(ranked) - len(self._limited(ranked)))
        idle = len(report.runs) - len(ranked)
        if idle:
            self._print(Text(f"{idle:,} acquired nothing", _ASIDE))

    def flaws(self, report: Report) -> None:
        """Show what could not be read, and what traced processes could not do."""
        lines = [
            f"{shortened(source.path)}: {shortened(words.faults(source))}"
            for source in report.sources
            if words.faults(source)
        ]
        lines.extend(
            f"{shortened(problem.code)}: {shortened(problem.message)} "
            f"({words.counted(problem.times, 'time')})"
            for problem in report.problems
        )
        if not lines:
            return
        self._section("not everything could be seen")
        for line in self._limited(lines):
            self._print(Padding(Text.assemble(("! ", "yellow"), line), (0, 0, 0, 2)))
        self._more(len(lines) - len(self._limited(lines)))

    def cost(self, report: Report) -> None:
        """Show what the tracer cost."""
        cost = report.cost
        if not cost.events:
            return
        size = f"{words.bytes_text(cost.bytes)}, " if cost.bytes else ""
        text = (
            f"tracing wrote {words.plural(cost.events, 'event')} "
            f"({size}{words.plural(cost.stacks, 'distinct stack')})"
        )
        if cost.writing >= 0:
            text += f" in {words.duration(cost.writing)}"
        self._print(Text())
        self._print(Text(text, _ASIDE))

    # --- one finding ---------------------------------------------------------------------------

    def _tell(self, group: Group, change: Change | None = None) -> None:
        tone = _TONES.get(group.severity, "bold")
        head = Text(overflow="fold")
        head.append(f"{_MARKS.get(group.severity, '·')} {shortened(group.code)}", tone)
        if change is not None:
            head.append(f"  {change.what}", _WHAT.get(change.what, ""))
            head.append(f" {change.before:,} → {change.after:,}")
        head.append(f"  {shortened(words.handle(group.example, group.kind))}", "bold")
        self._print(head)
        self._line(words.about(group), "")
        for step in group.example.steps:
            self._line(self._places.prose(words.title(step)), "cyan")
            self._stack(step.stack)
        if group.causes:
            self._line(f"why: {words.pairs(words.causes(group))}", "")
        if group.scopes:
            self._line(f"in: {words.pairs(group.scopes)}", "")
        siblings = siblings_text(group, self._places.where)
        if siblings:
            self._line(siblings, "")
        if group.remedy:
            self._line(f"fix: {self._places.prose(group.remedy)}", "green")
        if guide(group.code):
            self._line(f"more: {guide(group.code)}", _ASIDE)
        self._line(f"fingerprint: {group.fingerprint}", _ASIDE)

    def _stack(self, stack: Sequence[Frame]) -> None:
        inner, rest = own_first(stack)
        everything = self._options.verbosity > 1
        if everything:
            for frame in inner:
                self._frame(frame, first=False)
            shown: Iterable[Frame] = rest
        else:
            shown = [frame for frame in rest if frame.user][:_FRAMES] or rest[:_FRAMES]
        hidden = len(stack) - (len(stack) if everything else len(list(shown)))
        for index, frame in enumerate(shown):
            self._frame(frame, first=index == 0)
        if hidden:
            self._print(
                Padding(Text(f"… {words.plural(hidden, 'more frame')}", _ASIDE), (0, 0, 0, 6))
            )

    def _frame(self, frame: Frame, *, first: bool) -> None:
        mark = ">" if first else " "
        text = Text(overflow="fold", style="bold" if first else "")
        text.append(f"{mark} {shortened(self._places.frame(frame))} in {shortened(frame.function)}")
        self._print(Padding(text, (0, 0, 0, 4)))

    # --- pieces --------------------------------------------------------------------------------

    def _print(self, what: Any) -> None:
        self._console.print(what, soft_wrap=False)

    def _line(self, text: str, tone: str) -> None:
        line = Text(shortened(text, 1000), tone, overflow="fold")
        self._print(Padding(line, (0, 0, 0, 2)))

    def _section(self, title: str) -> None:
        self._print(Text())
        self._print(Rule(Text(title, "bold"), align="left", characters="─", style=_ASIDE))

    def _table(self, *columns: tuple[str, str]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_ASIDE)
        for name, how in columns:
            table.add_column(
                name,
                justify="right" if how == "right" else "left",
                no_wrap=how in ("right", "place"),
                overflow="ellipsis" if how == "place" else "fold",
            )
        return table

    def _limited(self, rows: Sequence[Any]) -> Sequence[Any]:
        return rows if self._options.verbosity else rows[:_ROWS]

    def _more(self, number: int) -> None:
        if number > 0:
            self._print(Text(f"… and {number:,} more (--verbose shows them)", _ASIDE))

    def _place(self, where: Place) -> str:
        """Return a place for a table's cell: folders in front are left out if it is long."""
        text = shortened(self._places.where(where))
        most = max(24, self._console.width * 2 // 5)
        if len(text) <= most:
            return text
        cut = text.find("/", len(text) - most + 1)
        return f"…{text[cut if cut >= 0 else len(text) - most + 1 :]}"


def _named(kind: str, value: str, name: str) -> str:
    return f"{kind} {value} {name!r}" if name else f"{kind} {value}"
