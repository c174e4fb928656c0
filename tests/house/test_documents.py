"""The rules of the house about what is written down."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lab.project import GIT

PROJECT = Path(__file__).resolve().parents[2]
TRACKED = [
    PROJECT / name
    for name in subprocess.run(
        [*GIT, "ls-files", "-z"], check=True, capture_output=True, text=True
    ).stdout.split("\0")
    if name
]
DOCUMENTS = [path for path in TRACKED if path.suffix == ".md" and path.is_file()]


def test_the_map_has_every_room() -> None:
    text = (PROJECT / "docs/map.md").read_text()
    rooms = {path.relative_to(PROJECT).parts[0] for path in TRACKED if path.parent != PROJECT}
    packages = {path.parent.name for path in (PROJECT / "src/holdfast").glob("*/__init__.py")}
    missing = sorted(name for name in (rooms | packages) if f"{name}/" not in text)
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("script", ["demo", "test", "bench", "build-images", "bootstrap", "lock"])
def test_scripts_are_thin_and_can_be_run(script: str) -> None:
    path = PROJECT / "scripts" / script
    assert path.stat().st_mode & 0o111
    assert len(path.read_text().splitlines()) <= 40
