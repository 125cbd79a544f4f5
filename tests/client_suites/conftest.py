"""SoftHSM and pkcs11-spy are found by the conformance suite's module."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "conformance"))
