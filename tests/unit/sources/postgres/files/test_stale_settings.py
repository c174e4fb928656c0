"""What a restored configuration would have a server do elsewhere is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.sources.postgres.files.stale_settings import notes_on


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
        ("archive_mode = ALWAYS", "archives under the names"),
        ("recovery_target_xid = 5", "still says recovery_target_xid = '5'"),
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
    assert "archives under the names" in found


def test_a_copy_of_a_standby_says_so(tmp_path: Path) -> None:
    assert "is a standby" in noted(tmp_path, "", signal="standby.signal")


def test_a_folder_of_its_own_is_nothing_to_tell(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert noted(tmp_path, f"data_directory = '{data}'\nhba_file = '{data}/pg_hba.conf'") == ""


def test_without_a_configuration_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert notes_on(tmp_path) == ()
