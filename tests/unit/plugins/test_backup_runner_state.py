"""What of a host differs from what a run of the role would install."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from plugins.modules.backup_runner_releases import has_account
from plugins.modules.backup_runner_state import (
    different_files,
    different_links,
    different_units,
    drop_ins,
    fingerprint,
)

ROLE = Path(__file__).parents[3] / "roles/backup_runner"

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
    program = tmp_path / "program"
    program.touch(0o755)
    right.symlink_to(program)
    wrong.symlink_to("/bin/sh")
    plain.touch(0o755)
    links = dict.fromkeys(map(str, (right, wrong, plain)), str(program))
    assert list(different_links(links)) == [str(wrong), str(plain)]
    # A program that is gone, or that nobody may run.
    program.chmod(0o644)
    assert str(right) in different_links(links)
    program.unlink()
    assert str(right) in different_links(links)


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
    folder = tmp_path / "holdfast-backup-.service.d"
    folder.mkdir()

    def found(asked: dict[str, Any]) -> str:
        return fingerprint(asked, judges=[systemd], beside=drop_ins([str(tmp_path)]))

    before = found(ASKED)
    assert before == found(dict(reversed(ASKED.items())))
    assert before == found(ASKED | {"absent": ["/b", "/a"]})
    assert before != found(ASKED | changed)
    # systemd-analyze judges a unit with its drop-ins.
    (folder / "site.conf").write_text("[Service]\nMemoryMx=1G\n")
    assert before != found(ASKED)
    (folder / "site.conf").unlink()
    assert before == found(ASKED)
    systemd.write_text("252.1")
    assert before != found(ASKED)
    systemd.unlink()
    assert before != found(ASKED)


@pytest.mark.parametrize(
    ("run", "skipped", "is_whole"),
    [
        (["all"], [], True),
        (["backup_runner"], [], True),
        (["backup_runner_verify"], [], False),
        (["backup_runner_install", "backup_runner_verify"], [], False),
        (["all"], ["backup_runner_install"], False),
    ],
)
def test_only_a_run_of_all_steps_vouches_for_what_it_installed(
    run: list[str], skipped: list[str], is_whole: bool
) -> None:
    lines = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    variables = {"ansible_run_tags": run, "ansible_skip_tags": skipped}
    text = trust_as_template(lines["__backup_runner_is_whole"])
    assert Templar(loader=DataLoader(), variables=variables).template(text) is is_whole
    verify = (ROLE / "tasks/verify.yml").read_text()
    assert "when: __backup_runner_is_whole or not __backup_runner_differs\n" in verify


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
