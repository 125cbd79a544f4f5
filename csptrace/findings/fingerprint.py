"""The fingerprint of a finding: equal for the same bug on every machine and in every run.

It is a hash of the finding code, the kind, the API and the user's frames as `module:qualname`. Line
numbers, addresses, values, and names that the compiler makes up are left out, so that an edit
elsewhere in the file, another Python version or another folder do not change it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csptrace.findings.catalogue import Code
    from csptrace.stacks.frames import Frame

__all__ = ["VERSION", "fingerprint", "names"]

VERSION: Final = "1"
_MOST_FRAMES: Final = 5


def fingerprint(code: Code, kind: str, api: str, frames: Sequence[Frame]) -> str:
    """Return the fingerprint of a finding.

    Args:
        code: the finding code.
        kind: the C type of the handle.
        api: the spec's name.
        frames: the user's frames, innermost first; the innermost five different ones count.

    Returns:
        `"1:"` (the version of this algorithm) and 16 hexadecimal digits.
    """
    text = "\n".join((VERSION, code.value, kind, api, *names(frames)))
    return f"{VERSION}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def names(frames: Sequence[Frame]) -> tuple[str, ...]:
    """Return what a fingerprint knows of a stack.

    Args:
        frames: the user's frames, innermost first.

    Returns:
        The innermost five different ones, as `module:qualname`.
    """
    found: list[str] = []
    for frame in frames:
        name = f"{frame.module}:{_stable(frame.qualname)}"
        # A made-up function (a comprehension, a lambda) folds into the one around it, and so does
        # recursion, mutual too: CPython 3.12 and later have no frame for a comprehension at all.
        if name not in found:
            found.append(name)
        if len(found) == _MOST_FRAMES:
            break
    return tuple(found)


def _stable(qualname: str) -> str:
    """Return a qualified name without the parts that the compiler makes up."""
    parts = [part for part in qualname.split(".") if not part.startswith("<")]
    return ".".join(parts) or "<module>"
