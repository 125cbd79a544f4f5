"""One line of a stack, and the module that a file is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import CodeType

__all__ = [
    "Frame",
    "frame_at",
    "module_name",
]


class Frame(NamedTuple):
    """One line of a stack.

    Attributes:
        filename: as the code object has it.
        line: line number, 0 if unknown.
        qualname: the function's qualified name.
        module: dotted module name derived from the file's place among packages, so that it is
            equal on every machine and for `app.py` as for `python -m app`.
    """

    filename: str
    line: int
    qualname: str
    module: str


def frame_at(code: CodeType, offset: int) -> Frame:
    """Return the place of one instruction.

    Args:
        code: the code object.
        offset: of the instruction in it, in bytes.

    Returns:
        The place; the function's first line if that of the instruction is not known.
    """
    line = 0
    for start, end, at in code.co_lines():
        if start <= offset < end and at is not None:
            line = at
            break
    filename = code.co_filename
    return Frame(filename, line or code.co_firstlineno, code.co_qualname, module_name(filename))


_module_names: dict[str, str] = {}


def module_name(filename: str) -> str:
    """Return the dotted module name of a source file, from the packages it lies in.

    The name does not depend on `sys.path` or on how the program was started, so a fingerprint is
    equal across machines.

    Args:
        filename: a code object's `co_filename`.

    Returns:
        `"pkg.sub.mod"`; the stem for a file outside any package; the name itself, without digits,
        for code that has no file (`<stdin>`).
    """
    known = _module_names.get(filename)
    if known is not None:
        return known
    if filename.startswith("<"):
        name = "".join(c for c in filename.split("-", 1)[0] if not c.isdigit())
        name = name if name.endswith(">") else name + ">"
    else:
        path, _ = os.path.splitext(filename.replace("\\", "/"))
        folder, _, stem = path.rpartition("/")
        parts = [] if stem == "__init__" else [stem]
        while folder and os.path.exists(f"{folder}/__init__.py"):
            folder, _, package = folder.rpartition("/")
            parts.append(package)
        name = ".".join(reversed(parts)) or stem
    _module_names[filename] = name
    return name
