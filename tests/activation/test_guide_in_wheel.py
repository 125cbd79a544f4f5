"""What an installer gets: the pages of the guide, and a description without dead links."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

from csptrace.guide import pages

if TYPE_CHECKING:
    from pathlib import Path


def test_the_guide_is_in_the_wheel(wheel: Path) -> None:
    """Each page of the table of contents ships with the package."""
    names = set(zipfile.ZipFile(wheel).namelist())

    assert {f"csptrace/guide/{page.path}" for page in pages.contents()} < names
    assert "csptrace/guide/index.md" in names


def test_links_of_the_description_lead_somewhere(wheel: Path) -> None:
    """On the package index a link into the repository is the command that shows the page."""
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = archive.read(name).decode()
    head, _, description = metadata.partition("\n\n")

    assert "Description-Content-Type: text/markdown" in head
    assert "`csptrace guide hsm`" in description
    targets = re.findall(r"\]\(([^)]+)\)", description)
    assert targets
    assert all(target.startswith("https://") for target in targets)
