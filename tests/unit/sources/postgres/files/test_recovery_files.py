"""What is written into a restored data directory."""

from __future__ import annotations

from pathlib import Path

from holdfast.sources.postgres.files.recovery_files import (
    quoted,
    write_missing_configuration,
    write_settings,
)


def test_settings_of_an_earlier_recovery_give_way_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "postgresql.auto.conf"
    path.write_text("work_mem = '8MB'\nrecovery_target_time = '2020-01-01'\nArchive_Mode = 'on'")
    (tmp_path / "standby.signal").touch()
    write_settings(tmp_path, {"restore_command": "x", "archive_mode": "off"})
    assert path.read_text().splitlines() == [
        "work_mem = '8MB'",
        "# Written by holdfast restore.",
        "restore_command = 'x'",
        "archive_mode = 'off'",
    ]
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "recovery.signal"}


def test_without_a_restore_command_nothing_recovers(tmp_path: Path) -> None:
    write_settings(tmp_path, {"archive_mode": "off"})
    assert [each.name for each in tmp_path.iterdir()] == ["postgresql.auto.conf"]


def test_a_value_keeps_its_quotes_and_backslashes() -> None:
    assert quoted("it's \\ here") == "'it''s \\\\ here'"


def test_a_configuration_is_written_only_where_there_is_none(tmp_path: Path) -> None:
    assert write_missing_configuration(tmp_path, {"max_connections": "60"})
    text = (tmp_path / "postgresql.conf").read_text()
    assert "listen_addresses = ''" in text
    assert "max_connections = 60" in text
    assert (tmp_path / "pg_hba.conf").read_text() == "local all all peer\n"
    (tmp_path / "postgresql.conf").write_text("mine")
    assert not write_missing_configuration(tmp_path, {})
    assert (tmp_path / "postgresql.conf").read_text() == "mine"
