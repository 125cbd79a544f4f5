"""`csptrace specs`: what is covered."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from csptrace.analysis.render.escaping import json_text
from csptrace.apis import registry
from csptrace.terminal import complain, pass_on, say

if TYPE_CHECKING:
    import argparse

__all__ = ["arguments", "main"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("api", nargs="*", help="names of specs (default: all)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def main(options: argparse.Namespace) -> int:
    """List the APIs, functions and bindings that are covered.

    Args:
        options: the parsed command line.

    Returns:
        0.
    """
    complaints: list[str] = []
    specs = registry.load(options.api, complaints.append)
    if options.json:
        covered = [registry.covered(spec) for spec in specs]
        pass_on(json_text(json.dumps(covered, indent=2)) + "\n", sys.stdout)
    else:
        for spec in specs:
            names = spec.by_name()
            lines = [f"{spec.name}: {spec.title}, {len(names)} functions", f"  {spec.source}", ""]
            for kind in spec.kinds:
                under = f", under {kind.under.name}" if kind.under else ""
                orderly = ", released before it" if kind.orderly else ""
                release = f", released by {kind.release}" if kind.release else ""
                lines.append(f"  {kind.name} ({kind.title}{under}{orderly}{release})")
            lines.append("")
            lines.extend(
                f"  {binding.name}: {', '.join(registry.places(binding))}"
                for binding in spec.bindings
            )
            lines.append("")
            for name, call in names.items():
                effects = "; ".join(_words(effect) for effect in registry.covered_effects(call))
                lines.append(f"  {name}: {effects}")
            say(*lines)
    complain(*(f"csptrace: {complaint}" for complaint in complaints))
    return 0


def _words(effect: dict[str, str]) -> str:
    text = f"{effect['effect']} {effect['kind']}"
    for name, value in effect.items():
        if name not in ("effect", "kind"):
            text += f" {name.replace('_', ' ')} {value}" if name != "param" else f" {value}"
    return text
