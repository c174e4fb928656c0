"""What of a host differs from what a run of the role would install."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from plugins.modules.backup_runner_releases import has_account
from plugins.modules.backup_runner_state import (
    different_files,
    different_links,
    different_units,
    fingerprint,
)

ASKED = {
    "units": {"holdfast-backup-shop.service": "1"},
    "absent": ["/a", "/b"],
    "release": "0.1.0-3f2a9c41d0be",
}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def wanted(tmp_path: Path) -> dict[str, str]:
    """A file as it is, described as it is wanted."""
    path = tmp_path / "holdfast.yaml"
    path.write_text("jobs: {}\n")
    path.chmod(0o640)
    known = {"path": str(path), "owner": path.owner(), "group": path.group(), "mode": "0640"}
    return {**known, "digest": digest("jobs: {}\n")}


def test_a_file_as_wanted_does_not_differ(wanted: dict[str, str]) -> None:
    assert list(different_files([wanted])) == []
    del wanted["digest"]
    assert list(different_files([wanted])) == []


@pytest.mark.parametrize(
    "otherwise", [{"digest": digest("")}, {"mode": "0644"}, {"owner": "nobody-here"}]
)
def test_content_owner_and_mode_each_count(
    wanted: dict[str, str], otherwise: dict[str, str]
) -> None:
    assert list(different_files([wanted | otherwise])) == [wanted["path"]]


def test_a_missing_file_and_a_link_in_its_place_differ(
    wanted: dict[str, str], tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(wanted["path"])
    asked = [wanted | {"path": str(tmp_path / "none")}, wanted | {"path": str(link)}]
    assert list(different_files(asked)) == [each["path"] for each in asked]


def test_a_link_differs_where_it_is_none_or_points_elsewhere(tmp_path: Path) -> None:
    right, wrong, plain = (tmp_path / name for name in ("right", "wrong", "plain"))
    right.symlink_to("/opt/holdfast/current")
    wrong.symlink_to("/opt/other")
    plain.touch()
    links = dict.fromkeys(map(str, (right, wrong, plain)), "/opt/holdfast/current")
    assert list(different_links(links)) == [str(wrong), str(plain)]


def test_units_of_removed_jobs_differ_too_and_units_of_others_never(tmp_path: Path) -> None:
    for name in ("shop.service", "gone.timer"):
        (tmp_path / f"holdfast-backup-{name}").write_text("[Unit]\n")
    (tmp_path / "holdfast-backup-.service.d").mkdir()
    (tmp_path / "cron.service").touch()
    units = {
        "holdfast-backup-shop.service": digest("[Unit]\n"),
        "holdfast-backup-new.service": digest("[Unit]\n"),
    }
    found = different_units(tmp_path, units, ["holdfast-backup-", "holdfast-drill-"])
    assert found == ["holdfast-backup-gone.timer", "holdfast-backup-new.service"]
    units["holdfast-backup-shop.service"] = digest("[Service]\n")
    assert len(different_units(tmp_path, units, ["holdfast-backup-"])) == 3


@pytest.mark.parametrize("changed", [{"release": "0.2.0-3f2a9c41d0be"}, {"units": {}}])
def test_what_was_verified_is_forgotten_with_any_change(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    systemd = tmp_path / "systemd"
    systemd.write_text("252")
    before = fingerprint(ASKED, systemd=systemd)
    assert before == fingerprint(dict(reversed(ASKED.items())), systemd=systemd)
    assert before == fingerprint(ASKED | {"absent": ["/b", "/a"]}, systemd=systemd)
    assert before != fingerprint(ASKED | changed, systemd=systemd)
    systemd.write_text("252.1")
    assert before != fingerprint(ASKED, systemd=systemd)


def test_an_account_is_as_wanted_only_with_group_home_shell_and_comment() -> None:
    line = next(
        line.split(":") for line in Path("/etc/passwd").read_text().splitlines() if "daemon" in line
    )
    wanted = dict(zip(("user", "comment", "home", "shell"), (line[0], *line[4:7]), strict=True))
    wanted["group"] = "daemon"
    assert has_account(wanted)
    assert not has_account(wanted | {"shell": "/bin/bash"})
    assert not has_account(wanted | {"group": "root"})
    assert not has_account(wanted | {"user": "nobody-here"})
