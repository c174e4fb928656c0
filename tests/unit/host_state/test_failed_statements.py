"""Scripts of what a restore could not make are private, whole, and never replace one another."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from holdfast.host_state.failed_statements import FileFailedStatements
from holdfast.model.errors import ConfigInvalid


def test_a_script_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "failed-statements"
    path = Path(FileFailedStatements(folder).keep("shop/20261120T020000Z-1a2b3c4d", "SELECT 1;\n"))
    assert path.read_text() == "SELECT 1;\n"
    assert path.name.startswith("shop-20261120T020000Z-1a2b3c4d-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == [path]


def test_two_restores_of_one_backup_keep_two_scripts(tmp_path: Path) -> None:
    statements = FileFailedStatements(tmp_path / "failed-statements")
    first, second = statements.keep("shop/a", "one"), statements.keep("shop/a", "two")
    assert (Path(first).read_text(), Path(second).read_text()) == ("one", "two")


def test_bytes_that_are_no_utf8_come_out_as_they_went_in(tmp_path: Path) -> None:
    statements = FileFailedStatements(tmp_path / "failed-statements")
    path = statements.keep("shop/a", b"caf\xe9".decode("utf-8", errors="surrogateescape"))
    assert Path(path).read_bytes() == b"caf\xe9"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot use state directory file"):
        FileFailedStatements(tmp_path / "missing" / "folder").keep("shop/a", "")
