"""CHANGELOG.md as the collection tells it."""

from __future__ import annotations

import pytest
import yaml

from lab.errors import LabError
from lab.state import PROJECT
from release.changelog import changelog

TEXT = """\
# Changelog

## 0.2.0, unreleased

### Tuning

- One line
  and its end.
- Another, in
  [its page](docs/a.md).

## 0.1.0, 2026-12-01

### To change in an inventory

- A name.
"""
EPOCH = 1_800_000_000


def test_each_point_is_a_change_and_what_an_operator_must_do_is_breaking() -> None:
    assert yaml.safe_load(changelog(TEXT, epoch=EPOCH)) == {
        "ancestor": None,
        "releases": {
            "0.2.0": {
                "release_date": "2027-01-15",
                "changes": {
                    "minor_changes": [
                        "Tuning - One line and its end.",
                        "Tuning - Another, in its page (docs/a.md).",
                    ]
                },
            },
            "0.1.0": {"release_date": "2026-12-01", "changes": {"breaking_changes": ["A name."]}},
        },
    }


def test_a_file_without_releases_is_refused() -> None:
    with pytest.raises(LabError, match=r"cannot read CHANGELOG\.md"):
        changelog("# Changelog\n", epoch=EPOCH)


def test_our_own_changes_have_points_in_every_section() -> None:
    told = yaml.safe_load(changelog((PROJECT / "CHANGELOG.md").read_text(), epoch=EPOCH))
    changes = told["releases"]["0.1.0"]["changes"]
    assert len(changes["breaking_changes"]) >= 3
    sections = {each.partition(" - ")[0] for each in changes["minor_changes"]}
    assert {"Tuning", "Deploying", "Restores"} <= sections
