"""Completion of the command line in a shell: `csptrace --print-completion bash`.

The script is made by shtab, from the same parser that reads the command line; the shell needs
neither csptrace nor shtab to use it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from csptrace.errors import MissingExtraError
from csptrace.guide import pages
from csptrace.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SHELLS", "PrintCompletion", "script"]

SHELLS: Final = ("bash", "zsh", "tcsh", "fish", "powershell")
"""The shells that shtab knows."""

_FILES: Final = frozenset({"FILE", "LOGS", "OLD", "NEW", "PROGRAM"})


class PrintCompletion(argparse.Action):
    """The option that prints the script for a shell, and ends."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - the signature is argparse's
        values: Any,
        option_string: str | None = None,  # noqa: ARG002 - likewise
    ) -> None:
        """Print it.

        Args:
            parser: the whole command line.
            namespace: not used.
            values: the shell.
            option_string: not used.
        """
        try:
            text = script(parser, values)
        except MissingExtraError as error:
            parser.error(str(error))
        say(*text.splitlines())
        parser.exit()


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script that completes the command line in a shell.

    Args:
        parser: the whole command line.
        shell: one of `SHELLS`.

    Raises:
        MissingExtraError: shtab is not installed.
    """
    try:
        import shtab  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError(
            "completion is made by shtab, which is not installed: "
            "pip install 'csptrace[completion]'"
        ) from None
    for action in _actions(parser):
        if action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # as shtab has it
        elif action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # as shtab has it
        elif action.dest == "topic":
            action.choices = [page.topic for page in pages.contents()]
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield every argument of a parser and of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in dict.fromkeys(action.choices.values()):
                yield from _actions(command)
        else:
            yield action
