"""The changes of the collection in the form that Ansible's users know, from CHANGELOG.md."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import yaml

from lab.errors import LabError

# A release and its date, if it has one: `## 0.1.0, 2026-12-01`.
RELEASE = re.compile(r"^## (\d+\.\d+\.\d+), (\d{4}-\d\d-\d\d|unreleased)$", re.MULTILINE)
SECTION = re.compile(r"^### (.+)$", re.MULTILINE)
# The file of the collection is reStructuredText, where a link is written otherwise.
LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
# What an operator has to change stands in a section of its own; all others are new.
BREAKING = "To change in an inventory"


def changelog(text: str, *, epoch: int) -> str:
    """The content of `changelogs/changelog.yaml`; `epoch` is the day of what is unreleased."""
    _, *found = RELEASE.split(text)
    if not found:
        raise LabError("cannot read CHANGELOG.md: no line is like '## 0.1.0, 2026-12-01'")
    built = datetime.fromtimestamp(epoch, UTC).date().isoformat()
    releases: dict[str, Any] = {}
    for version, date, body in zip(found[::3], found[1::3], found[2::3], strict=True):
        day = built if date == "unreleased" else date
        releases[version] = {"changes": _changes(body), "release_date": day}
    document = {"ancestor": None, "releases": releases}
    return "---\n" + yaml.safe_dump(document, allow_unicode=True, sort_keys=True, width=100)


def _changes(body: str) -> dict[str, list[str]]:
    changes: dict[str, list[str]] = {}
    _, *found = SECTION.split(body)
    for title, content in zip(found[::2], found[1::2], strict=True):
        section = "breaking_changes" if title == BREAKING else "minor_changes"
        before = "" if title == BREAKING else f"{title} - "
        changes.setdefault(section, []).extend(before + each for each in _entries(content))
    return changes


def _entries(content: str) -> list[str]:
    """The points of a list, each on one line."""
    points = re.split(r"^- ", content, flags=re.MULTILINE)[1:]
    return [LINK.sub(r"\1 (\2)", " ".join(point.split())) for point in points]
