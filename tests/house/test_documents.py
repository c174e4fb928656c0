"""The rules of the house about documents."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.house.project import PROJECT, TRACKED, name_of

SCRIPT_LINES = 40
CHAPTERS = ("Context", "Decision", "Consequences")
STATUS = r"(?:proposed|accepted|superseded by \[\d+\]\([0-9a-z-]+\.md\))"
DOCUMENTS = [path for path in TRACKED if path.suffix == ".md" and path.is_file()]


def test_the_map_has_every_room() -> None:
    text = (PROJECT / "docs/map.md").read_text()
    rooms = {path.relative_to(PROJECT).parts[0] for path in TRACKED if path.parent != PROJECT}
    packages = {path.parent.name for path in (PROJECT / "src/holdfast").glob("*/__init__.py")}
    missing = sorted(name for name in (rooms | packages) if f"{name}/" not in text)
    assert missing == []


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{name_of(path)}: {target}"
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text())
        if "://" not in target
        and not target.startswith("mailto:")
        and not (path.parent / target).exists()
    ]
    assert broken == []


def test_links_to_a_heading_find_it() -> None:
    broken = [
        f"{name_of(path)}: {page}#{anchor}"
        for path in DOCUMENTS
        for page, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)]+)\)", path.read_text())
        if (page or path.name).endswith(".md")
        and anchor not in anchors(path.parent / page if page else path)
    ]
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors that a forge gives the headings of a page; a repeated heading gets a number."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\]\(.*?\)", "", heading.lower()))
        slug = words.strip().replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return set(found)


def test_the_index_leads_to_every_page() -> None:
    index = (PROJECT / "docs/README.md").read_text()
    pages = {path.name for path in DOCUMENTS if path.parent == PROJECT / "docs"}
    missing = sorted(name for name in pages - {"README.md"} if f"]({name}" not in index)
    assert missing == []


def test_scripts_are_thin_and_can_be_run() -> None:
    scripts = sorted((PROJECT / "scripts").iterdir())
    names = {path.name for path in scripts}
    assert names == {"demo", "test", "bench", "build-images", "bootstrap", "lock", "release"}
    assert [path.name for path in scripts if not os.access(path, os.X_OK)] == []
    long = [path.name for path in scripts if len(path.read_text().splitlines()) > SCRIPT_LINES]
    assert long == []


def test_decisions_have_one_form_and_follow_each_other() -> None:
    decisions = sorted((PROJECT / "docs/decisions").glob("*.md"))
    assert [path.name[:4] for path in decisions] == [
        f"{number:04}" for number in range(1, len(decisions) + 1)
    ]
    odd = [path.name for path in decisions if not is_decision(path.read_text(), int(path.name[:4]))]
    assert odd == [], "see 'A decision' in CONTRIBUTING.md"


def is_decision(text: str, number: int) -> bool:
    """Whether it has a title, status and date, and three chapters, none of them empty."""
    chapters = "".join(rf"## {each}\n\n(?!#)\S.*?\n\n?" for each in CHAPTERS)
    head = rf"# {number}\. \S.*?\n\n- Status: {STATUS}\n- Date: \d{{4}}-\d\d-\d\d\n\n"
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)[1:]
    return bool(re.fullmatch(head + chapters, text, re.DOTALL)) and headings == [*CHAPTERS]
