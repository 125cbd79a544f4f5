"""Where things happened, shortened: `payments/signing.py:17` instead of a build machine's path.

A frame knows its module, `payments.signing`, and with it which part of the path belongs to the
package. The rest is where some machine happened to have it. Where two files would be shortened to
the same text, both keep their paths.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from csptrace.analysis.results import Frame, Group, Place, Report

__all__ = ["Places", "frames_of", "own_first"]

_WORD: Final = re.compile(r"([^\s,;()'\"]+):([0-9]+)(?![^\s,;()'\"])")


def frames_of(groups: Iterable[Group]) -> Iterator[Frame]:
    """Yield every frame of the examples of findings.

    Args:
        groups: the findings.
    """
    for group in groups:
        for step in group.example.steps:
            yield from step.stack


def own_first(stack: Sequence[Frame]) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
    """Split a stack at the user's own code.

    Args:
        stack: innermost first.

    Returns:
        The frames of libraries that were called from the user's innermost frame, and the rest,
        which starts with it. If no frame is the user's, the first part is empty.
    """
    for index, frame in enumerate(stack):
        if frame.user:
            return tuple(stack[:index]), tuple(stack[index:])
    return (), tuple(stack)


class Places:
    """Short names for the files of one result.

    Args:
        frames: all frames that will be shown.
    """

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._short: dict[str, str] = {}
        taken: dict[str, str] = {}
        for frame in dict.fromkeys((frame.file, frame.module) for frame in frames):
            file, module = frame
            if file in self._short:
                continue
            short = _within_package(file, module)
            other = taken.setdefault(short, file)
            if other == file:
                self._short[file] = short
            else:
                self._short[file], self._short[other] = file, other

    @classmethod
    def of(cls, report: Report) -> Places:
        """Return the short names for a report.

        Args:
            report: the report.
        """
        return cls((*frames_of(report.groups), *(f for site in report.sites for f in site.stack)))

    def file(self, name: str) -> str:
        """Return a file's short name, the name itself if it has none.

        Args:
            name: path on the machine that ran the program.
        """
        return self._short.get(name, name)

    def where(self, place: Place) -> str:
        """Return `file:line` with the file's short name, empty if nothing is known.

        Args:
            place: the place.
        """
        return f"{self.file(place.file)}:{place.line}" if place else ""

    def prose(self, text: str) -> str:
        """Return a sentence with the short names of the files in it.

        Args:
            text: in which a place is `file:line`.
        """
        return _WORD.sub(lambda match: f"{self.file(match[1])}:{match[2]}", text)

    def frame(self, frame: Frame) -> str:
        """Return `file:line` of a frame.

        Args:
            frame: the frame.
        """
        return f"{self.file(frame.file)}:{frame.line}"


def _within_package(file: str, module: str) -> str:
    parts = file.replace("\\", "/").split("/")
    depth = module.count(".") + 1
    if parts[-1].partition(".")[0] == "__init__":
        depth += 1
    expected = module.rpartition(".")[2]
    fits = parts[-1].partition(".")[0] in (expected, "__init__", "__main__")
    return "/".join(parts[-depth:]) if module and fits and len(parts) > depth else file
