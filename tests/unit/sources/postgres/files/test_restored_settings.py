"""What is written into a restored data directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.sources.postgres.files.restored_settings import (
    notes_on,
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


def noted(folder: Path, config: str, *, auto: str = "", signal: str = "") -> str:
    data = folder / "data"
    data.mkdir()
    (data / "postgresql.conf").write_text(config)
    (data / "postgresql.auto.conf").write_text(auto)
    if signal:
        (data / signal).touch()
    return " | ".join(notes_on(data))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("data_directory = '/orig'", "opens '/orig'"),
        ("DATA_DIRECTORY '/or''ig' # as before", "opens '/or'ig'"),
        ("hba_file=/etc/hba\nident_file = 'pg_ident.conf'", "hba_file = '/etc/hba'"),
        ("archive_mode = ALWAYS", "archives under the same names"),
        ("recovery_target_xid = 5", "earlier recovery: recovery_target_xid = '5'"),
        ("# data_directory = '/orig'\nport = 1\nlog_directory = 'log'", ""),
        ("archive_mode = on\narchive_mode = off", ""),
    ],
)
def test_settings_of_another_place_are_told(tmp_path: Path, config: str, told: str) -> None:
    found = noted(tmp_path, config)
    assert told in found
    assert bool(found) == bool(told)


def test_the_last_word_counts_wherever_it_is_included(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/2.conf").write_text("data_directory = '/two'\n")
    (tmp_path / "conf.d/1.conf").write_text("data_directory = '/one'\ninclude '1.conf'\n")
    (tmp_path / "conf.d/.3.conf").write_text("data_directory = '/three'\n")
    config = f"include_dir = '{tmp_path}/conf.d'\ninclude_if_exists 'nothing.conf'\n"
    found = noted(tmp_path, config, auto="archive_mode = 'on'\n")
    assert "opens '/two'" in found
    assert "archives under the same names" in found


def test_a_copy_of_a_standby_says_so(tmp_path: Path) -> None:
    assert "is a standby" in noted(tmp_path, "", signal="standby.signal")


def test_a_folder_of_its_own_is_nothing_to_tell(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert noted(tmp_path, f"data_directory = '{data}'\nhba_file = '{data}/pg_hba.conf'") == ""


def test_without_a_configuration_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert notes_on(tmp_path) == ()
