"""What a copy of a server's files says about settings and plugins is read without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.errors import DrillFailed
from holdfast.sources.mysql.drill.servers import forget_plugins, libraries_in, settings_in

# Rows as MariaDB 11.8 writes them.
ROWS = (
    b"\x00\x03\x00\x07\r\x00ARCHIVEha_archive.so\x00\x00\x00\x00\x00"
    b"\x00\x03\x00\x0c\x0f\x00SERVER_AUDITserver_audit.so\x00\x00\x00"
)


def test_libraries_are_told_from_the_names_of_their_plugins() -> None:
    assert libraries_in(ROWS) == {"ha_archive.so", "server_audit.so"}
    assert libraries_in(b"other.so") == {"other.so"}
    assert libraries_in(b"") == set()


def test_a_server_finds_no_table_of_plugins(tmp_path: Path) -> None:
    system = tmp_path / "mysql"
    system.mkdir()
    for name in ("plugin.MAD", "plugin.MAI", "plugin.frm", "user.frm"):
        (system / name).write_bytes(ROWS)
    assert forget_plugins(tmp_path) == {"ha_archive.so", "server_audit.so"}
    assert [path.name for path in system.iterdir()] == ["user.frm"]


def test_only_settings_that_the_files_need_are_taken(tmp_path: Path) -> None:
    assert settings_in(tmp_path) == {}
    (tmp_path / "backup-my.cnf").write_text(
        "# comment\n[mysqld]\ninnodb_page_size=8192\ninnodb_data_file_path = ibdata1:12M\n"
        "innodb_undo_directory=/srv/production\ninit_file=/etc/passwd\ninnodb_log_file_size=\n"
    )
    assert settings_in(tmp_path) == {
        "innodb_page_size": "8192",
        "innodb_data_file_path": "ibdata1:12M",
    }


def test_no_setting_leads_out_of_the_folder(tmp_path: Path) -> None:
    line = "innodb_data_file_path=../../srv/production/ibdata1:12M\n"
    (tmp_path / "backup-my.cnf").write_text(line)
    with pytest.raises(DrillFailed, match="leads out of its folder"):
        settings_in(tmp_path)
