"""A server program suits a backup of its kind; AppArmor's profile is found where it confines."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.errors import ToolMissing
from holdfast.sources.mysql.drill import host_gaps
from holdfast.sources.mysql.drill.host_gaps import confining_profile
from holdfast.sources.mysql.dump import programs
from holdfast.sources.mysql.dump.programs import BackedUp, Program, find_server


def program(kind: str, version: str) -> Program:
    return Program(name="server", path="/usr/sbin/server", kind=kind, version=version)


@pytest.mark.parametrize(
    ("kind", "version", "for_rows", "for_files"),
    [
        ("mariadb", "10.11.14", True, True),
        ("mariadb", "11.8.9", True, False),
        ("mariadb", "10.6.1", False, False),
        ("mysql", "10.11.14", False, False),
    ],
)
def test_rows_go_into_the_same_or_a_later_server_and_files_into_the_same(
    kind: str, version: str, for_rows: bool, for_files: bool
) -> None:
    for is_files, admitted in ((False, for_rows), (True, for_files)):
        of = BackedUp(kind="mariadb", version="10.11.6-MariaDB-deb12", is_files=is_files)
        assert of.admits(program(kind, version)) is admitted


def installed(folder: Path, name: str, said: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(0o755)


def test_the_first_program_that_suits_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "SERVER_FOLDERS", ())
    backup = BackedUp(kind="mysql", version="8.4.2", is_files=False)
    with pytest.raises(ToolMissing, match="not installed"):
        find_server(backup)
    installed(tmp_path, "mysqld", "mysqld  Ver 8.0.40 for Linux on x86_64 (MySQL Community)")
    with pytest.raises(ToolMissing, match=r"it is mysql 8\.0\.40.* for mysql 8\.4 or later"):
        find_server(backup)
    installed(tmp_path, "mysqld", "mysqld  Ver 9.7.0 for Linux on x86_64 (MySQL Community)")
    assert find_server(backup).version == "9.7.0"


def test_a_profile_without_rules_or_switched_off_confines_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enabled, profiles = tmp_path / "enabled", tmp_path / "apparmor.d"
    (profiles / "disable").mkdir(parents=True)
    monkeypatch.setattr(host_gaps, "APPARMOR", enabled)
    monkeypatch.setattr(host_gaps, "PROFILES", profiles)
    server = program("mysql", "9.7.0")
    profile = profiles / "usr.sbin.server"
    profile.write_text("# nothing but a comment\n\n")
    assert confining_profile(server) is None
    enabled.write_text("Y\n")
    assert confining_profile(server) is None
    profile.write_text("# rules\n/usr/sbin/mysqld {\n}\n")
    assert confining_profile(server) == profile
    (profiles / "disable" / profile.name).touch()
    assert confining_profile(server) is None
