"""Lists of files of encrypted backups: private, and never those of an unfinished backup."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from holdfast.host_state.kept_files import (
    SECRET_BYTES,
    FileFailedStatements,
    HostFileLists,
    lasting_secret,
)
from holdfast.model.errors import ConfigInvalid


def read(lists: HostFileLists, job: str) -> bytes:
    with lists.open(job) as chunks:
        return b"".join(chunks)


def test_what_was_offered_counts_once_it_is_settled(tmp_path: Path) -> None:
    lists = HostFileLists(tmp_path / "lists")
    assert read(lists, "shop") == b""
    lists.offer("shop", [b"first ", memoryview(b"list")])
    assert read(lists, "shop") == b""
    lists.settle("shop")
    assert read(HostFileLists(tmp_path / "lists"), "shop") == b"first list"
    lists.offer("shop", [b"second"])
    lists.offer("shop", [b"3rd"])
    lists.settle("shop")
    lists.settle("shop")
    assert read(lists, "shop") == b"3rd"
    assert read(lists, "other") == b""


def test_other_users_cannot_read_them(tmp_path: Path) -> None:
    lists = HostFileLists(tmp_path / "lists")
    lists.offer("shop", [b"list"])
    lists.settle("shop")
    (path,) = (tmp_path / "lists").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_used_is_told_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "lists").write_text("in the way")
    with pytest.raises(ConfigInvalid, match="state directory") as raised:
        HostFileLists(tmp_path / "lists").offer("shop", [b"list"])
    assert "state_directory" in raised.value.hint


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


def test_it_is_random_private_and_the_same_afterwards(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert len(lasting_secret(one)) == SECRET_BYTES
    assert lasting_secret(one) == lasting_secret(one) != lasting_secret(other)
    assert stat.S_IMODE(one.stat().st_mode) == 0o600


def test_runs_that_begin_at_once_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run makes the secret between our check and our write."""
    link, others = os.link, list[bytes]()

    def link_late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        others.append(lasting_secret(target))
        link(source, target)

    monkeypatch.setattr(os, "link", link_late)
    assert [lasting_secret(tmp_path / "key")] == others
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_one_that_was_cut_short_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(ConfigInvalid, match="it is 5 bytes long") as raised:
        lasting_secret(tmp_path / "key")
    assert "nothing is lost" in raised.value.hint
