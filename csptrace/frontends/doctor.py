"""`csptrace doctor`: what is active, what is patched, what is not and why; with a canary."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import platform
import site
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import csptrace
from csptrace import _startup, process, projectfile
from csptrace.analysis.render.escaping import json_text
from csptrace.apis import registry
from csptrace.causes import exit_monitor
from csptrace.errors import CspTraceError
from csptrace.examples import embedded
from csptrace.findings.catalogue import Code
from csptrace.settings import Settings, is_active
from csptrace.terminal import pass_on, say

if TYPE_CHECKING:
    import argparse

    from csptrace.tracer import Tracer

__all__ = ["arguments", "examine", "main"]

_FILE = "zz_csptrace.pth"
_LAST_TO_READ_IT = (3, 17)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def main(options: argparse.Namespace) -> int:
    """Say what is active, what is patched, what is pending and why, and prove it works.

    Args:
        options: the parsed command line.

    Returns:
        0 if the canary was caught and nothing is wrong, 1 otherwise.
    """
    report = examine()
    if options.json:
        pass_on(json_text(json.dumps(report, indent=2)) + "\n", sys.stdout)
    else:
        say(*_lines(report))
    return 0 if report["healthy"] else 1


def examine() -> dict[str, Any]:
    """Collect everything that the report says.

    Returns:
        Plain data, JSON-serialisable; `healthy` is the verdict.
    """
    problems: list[str] = []
    report: dict[str, Any] = {
        "csptrace": csptrace.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "executable": sys.executable,
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "startup": _startup_files(),
        "environment": _environment(problems),
        "problems": problems,
    }
    active = process.current()
    report["active"] = active is not None
    report["startup_error"] = _startup.state["error"]
    if _startup.state["error"]:
        problems.append(f"tracing was not started: {_startup.state['error']}")
    report["specs"] = _specs(problems)
    if active is not None:
        report.update(_installed(active))
        process.stop()
    try:
        settings = Settings.load()
    except CspTraceError as error:
        problems.append(str(error))
        settings = Settings()
    report["settings_file"] = _settings_file()
    report["settings"] = {name: str(value) for name, value in _given(settings).items()}
    report["causes"] = _causes(settings)
    report["canary"] = _canary(report, problems)
    report["healthy"] = not problems
    return report


def _settings_file() -> dict[str, Any]:
    """Return which file has settings, which have some that do not count, and how far it was sought.

    Its errors are told with the settings.
    """
    try:
        found = projectfile.find()
    except CspTraceError:
        return {"file": None, "passed": [], "last": None, "why": "it cannot be understood"}
    return {
        "file": None if found.file is None else str(found.file),
        "passed": list(found.passed),
        "last": None if found.last is None else str(found.last),
        "why": found.why,
    }


def _causes(settings: Settings) -> str:
    """Return whether csptrace can say why handles leak, and why not."""
    if not settings.causes:
        return "no: the setting causes is off"
    if settings.level == "count":
        return "no: level count records no stacks"
    reason = exit_monitor.unavailable() or exit_monitor.taken()
    return f"no: {reason}" if reason else "yes"


def _startup_files() -> list[dict[str, Any]]:
    """Return which start-up files lie in this interpreter's site directories, and which count."""
    folders = dict.fromkeys(
        [
            sysconfig.get_path("purelib"),
            sysconfig.get_path("platlib"),
            *site.getsitepackages(),
            *([site.getusersitepackages()] if site.ENABLE_USER_SITE else []),
        ]
    )
    used = sys.version_info[:2] <= _LAST_TO_READ_IT and not sys.flags.no_site
    paths = [Path(folder) / _FILE for folder in folders]
    return [{"file": str(path), "used": used} for path in paths if path.exists()]


def _environment(problems: list[str]) -> dict[str, str]:
    try:
        is_active()
    except CspTraceError as error:
        problems.append(str(error))
    return {name: value for name, value in os.environ.items() if name.startswith("CSPTRACE")}


def _specs(problems: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "functions": len(spec.by_name()),
            "bindings": [
                {
                    "name": binding.name,
                    "where": registry.places(binding),
                }
                for binding in spec.bindings
            ],
        }
        for spec in registry.load((), problems.append)
    ]


def _installed(active: Tracer) -> dict[str, Any]:
    installation = active.installation
    return {
        "patched": [entry.what for entry in installation.journal.entries],
        "pending": {name: _why_pending(name) for name in installation.pending},
        "missed": list(installation.missed),
        "functions": installation.functions,
    }


def _why_pending(name: str) -> str:
    try:
        known = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        known = False
    return "not imported yet" if known else "not installed"


def _given(settings: Settings) -> dict[str, object]:
    """Return the settings that differ from the default."""
    default = Settings()
    names = [field.name for field in dataclasses.fields(settings)]
    return {
        name: getattr(settings, name)
        for name in names
        if getattr(settings, name) != getattr(default, name)
    }


def _canary(report: dict[str, Any], problems: list[str]) -> str:
    """Leak a key on purpose and see whether it is caught."""
    try:
        embedded.library()
    except CspTraceError as error:
        problems.append(f"canary: {error}")
        return "not released: no software CSP"
    active = process.start(Settings(quiet=True))
    try:
        called = embedded.leak_a_key()
        if "patched" not in report:
            report.update(_installed(active))
        found = [finding.code.value for finding in active.check()]
    finally:
        process.stop()
    if not called:
        problems.append("canary: the software CSP refused a call")
        return "the software CSP failed"
    if found != [Code.LEAKED_AT_RELEASE.value]:
        problems.append(f"canary: a key was leaked on purpose and this was found: {found}")
        return "not caught"
    return "caught"


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [
        f"csptrace {report['csptrace']} on {report['python']} ({report['executable']})",
        f"GIL: {'on' if report['gil'] else 'off'}",
        "",
        f"tracing in this process: {'yes' if report['active'] else 'no'}",
    ]
    if not report["active"]:
        lines.append("  (set CSPTRACE=1, or use: csptrace run program.py)")
    lines.append("start-up files:")
    lines.extend(
        f"  {file['file']} ({'used' if file['used'] else 'not used'} by this Python)"
        for file in report["startup"]
    )
    if not report["startup"]:
        lines.append("  none: CSPTRACE=1 has no effect here; use csptrace run or csptrace.start()")
    lines.append("environment:")
    lines.extend(f"  {name}={value!r}" for name, value in sorted(report["environment"].items()))
    if not report["environment"]:
        lines.append("  no CSPTRACE variables")
    sought = report["settings_file"]
    lines.append(f"settings file: {sought['file'] or 'none with [tool.csptrace]'}")
    if not sought["file"]:
        lines.append(f"  sought up to {sought['last'] or 'nowhere'}: {sought['why']}")
    lines.extend(f"  {passed}" for passed in sought["passed"])
    lines.append("settings that differ from the default:")
    lines.extend(f"  {name} = {value}" for name, value in sorted(report["settings"].items()))
    if not report["settings"]:
        lines.append("  none")
    lines.append("specs:")
    for spec in report["specs"]:
        bindings = ", ".join(binding["name"] for binding in spec["bindings"])
        lines.append(f"  {spec['name']}: {spec['functions']} functions, bindings: {bindings}")
    lines.append(f"patched ({report.get('functions', 0)} functions so far):")
    lines.extend(f"  {what}" for what in report.get("patched", ()))
    lines.append("pending (patched when the module is imported):")
    lines.extend(f"  {name}: {why}" for name, why in report.get("pending", {}).items())
    if report.get("missed"):
        lines.append("not traced, because it was bound before tracing began:")
        lines.extend(f"  {name}" for name in report["missed"])
    lines.append(f"why handles leak is told: {report['causes']}")
    lines.extend(("", f"canary: {report['canary']}"))
    lines.extend(f"PROBLEM: {problem}" for problem in report["problems"])
    return lines
