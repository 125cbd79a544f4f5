"""The genuine parts for every test that needs them: Windows Python under Wine."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import required

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / ".ci" / "windows.py"


@functools.cache
def tool() -> ModuleType:
    """Return `.ci/windows.py` as a module."""
    spec = importlib.util.spec_from_file_location("csptrace_ci_windows", TOOL)
    if spec is None or spec.loader is None:
        raise ImportError(str(TOOL))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def unavailable() -> str | None:
    """Return why Windows Python cannot be run under Wine here, `None` if it can."""
    if os.name == "nt":
        return "Windows Python is run under Wine, and this is Windows"
    if not TOOL.exists():
        return "the Windows environment is set up by .ci/windows.py, which is not here"
    reason: str | None = tool().available()
    return reason


def need() -> None:
    """Skip the test where there is no Windows Python; fail it where `wine` is required."""
    reason = unavailable()
    if reason is not None:
        required.missing("wine", reason)


def environment() -> Any:
    """Return the Windows environment that imports csptrace from this source tree."""
    return tool().environment(project=ROOT)
