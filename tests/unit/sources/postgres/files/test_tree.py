"""Which files of a data directory a base backup takes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from holdfast.model.backup import PartKind
from holdfast.model.part_details import NOTHING
from holdfast.sources.postgres.files.entries import Entry
from holdfast.sources.postgres.files.part_plan import Sizes, lay_out
from holdfast.sources.postgres.files.tree import Seen, Tree

VERSION = "PG_17_202406281"
TAKEN = {
    "PG_VERSION": -1,
    "base/5/1259": 0,
    "base/5/1259_fsm": 0,
    "base/5/1259.2": 2,
    "base/5/PG_VERSION": -1,
    "base/5/2000_init": 0,
    "base/5/pg_filenode.map": -1,
    "global/1262": 0,
    "pg_xact/0000": -1,
    f"pg_tblspc/16400/{VERSION}/5/7000": 0,
}
LEFT = (
    "base/5/2000",
    "base/5/2000_fsm",
    "base/5/t3_4000",
    "base/5/pg_internal.init",
    "base/pgsql_tmp/pgsql_tmp4000.0",
    "backup_label",
    "backup_manifest",
    "global/pg_control",
    "pg_dynshmem/mmap.1",
    "pg_replslot/slot/state",
    "pg_stat_tmp/global.stat",
    "pg_wal/000000010000000000000001",
    "pg_tblspc/16400/PG_16_202307071/5/1",
    "postmaster.pid",
    "recovery.signal",
    "standby.signal",
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data, space = tmp_path / "data", tmp_path / "space"
    (data / "pg_tblspc").mkdir(parents=True)
    space.mkdir()
    (data / "pg_tblspc/16400").symlink_to(space)
    for name in (*TAKEN, *LEFT):
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
    (data / "link.conf").symlink_to("/etc/hostname")
    return data


def test_what_pg_basebackup_takes_is_taken_and_nothing_else(data: Path) -> None:
    entries = list(Tree(data=data, version_folder=VERSION).entries())
    files = {entry.path: entry.segment for entry in entries if not entry.is_folder}
    assert files == TAKEN
    folders = {entry.path for entry in entries if entry.is_folder}
    assert {"pg_wal", "pg_wal/archive_status", "pg_dynshmem", "pg_replslot", "base/5"} <= folders
    assert "pg_replslot/slot" not in folders


def test_a_folder_that_is_dropped_during_the_backup_is_no_error(data: Path) -> None:
    entries = Tree(data=data, version_folder=VERSION).entries()
    seen = [next(entries)]
    for path in sorted((data / "base").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    seen += entries
    assert not [entry for entry in seen if entry.path.startswith("base/5/")]


def test_an_empty_file_of_a_relation_is_told_with_its_time_and_no_other_file_is(
    data: Path,
) -> None:
    for name in ("base/5/1259", "base/5/1259_fsm", "base/5/1259.2", "pg_xact/0000", "global/1262"):
        (data / name).write_bytes(b"")
        os.utime(data / name, (1, 1_700_000_000.9))
    (data / "base/5/7000").write_bytes(b"rows")
    entries = Tree(data=data, version_folder=VERSION).entries()
    assert {each.path: each.modified for each in entries if each.modified} == {
        "base/5/1259": 1_700_000_000
    }


def test_no_folder_is_listed_by_a_path_that_the_kernel_would_follow_for_each_file(
    data: Path,
) -> None:
    counts, listed = [True], list[object]()

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if counts and event == "os.scandir":
            listed.append(arguments[0])

    sys.addaudithook(note)
    entries = list(Tree(data=data, version_folder=VERSION).entries())
    counts.clear()
    assert len(listed) > len([each for each in entries if each.is_folder]) / 2
    assert {type(each) for each in listed} == {int}


def test_big_files_come_alone_and_first_and_small_ones_in_packs() -> None:
    entries = [
        Entry(path="base", is_folder=True),
        *(Entry(path=f"base/5/{number}", size_bytes=10) for number in range(7)),
        Entry(path="base/5/100", size_bytes=500),
        Entry(path="base/5/200", size_bytes=900),
        Entry(path="base/5/odd name", size_bytes=700),
    ]
    layout = lay_out(entries, sizes=Sizes(small_bytes=100, pack_bytes=1000, pack_files=5))
    assert [(part.name, part.kind) for part in layout.parts[:1]] == [
        ("files/base/5/200", PartKind.FILE)
    ]
    sizes = [part.estimated_bytes for part in layout.parts]
    assert sizes == sorted(sizes, reverse=True)
    held = [entry for entries in layout.contents.values() for entry in entries]
    assert sorted(entry.path for entry in held) == sorted(entry.path for entry in entries)
    for part in layout.parts:
        if part.kind is PartKind.FILE_PACK:
            assert len(layout.contents[part.name]) <= 5
            assert part.details == NOTHING


def test_names_that_differ_by_case_alone_do_not_share_a_part() -> None:
    entries = [Entry(path="Big", size_bytes=500), Entry(path="big", size_bytes=500)]
    layout = lay_out(entries, sizes=Sizes(small_bytes=100))
    assert sorted(part.kind for part in layout.parts) == [PartKind.FILE, PartKind.FILE_PACK]


def walked(data: Path) -> tuple[set[str], Seen]:
    seen = Seen()
    entries = list(Tree(data=data, version_folder=VERSION).entries(seen))
    return {entry.path for entry in entries}, seen


def test_links_that_a_server_follows_are_followed_and_told(data: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for name, link in (("5", "base/5"), ("wal", "pg_wal"), ("xact", "pg_xact")):
        elsewhere.mkdir(exist_ok=True)
        (data / link).rename(elsewhere / name)
        (data / link).symlink_to(elsewhere / name)
    (elsewhere / "main.conf").write_text("port = 5432")
    (data / "postgresql.conf").symlink_to(elsewhere / "main.conf")
    (elsewhere / "7001").write_text("rows")
    (data / f"pg_tblspc/16400/{VERSION}/5/7001").symlink_to(elsewhere / "7001")
    found, seen = walked(data)
    assert found > set(TAKEN)
    assert {"postgresql.conf", f"pg_tblspc/16400/{VERSION}/5/7001"} <= found
    assert not any(path.startswith("pg_wal/0") for path in found)
    assert seen.links == {
        "base/5": str(elsewhere / "5"),
        "pg_wal": str(elsewhere / "wal"),
        "pg_xact": str(elsewhere / "xact"),
        "postgresql.conf": str(elsewhere / "main.conf"),
        f"pg_tblspc/16400/{VERSION}/5/7001": str(elsewhere / "7001"),
    }
    assert seen.tablespaces == {"16400": str(tmp_path / "space")}
    assert seen.later_segments == ["base/5/1259.2"]


def test_what_is_neither_file_nor_followed_is_told_with_its_reason(
    data: Path, tmp_path: Path
) -> None:
    os.mkfifo(data / "pipe")
    (data / "pg_hba.conf").symlink_to(tmp_path / "nowhere")
    (data / "base/loop").symlink_to("../base")
    (data / "base/self").symlink_to("self")
    (data / "backups").symlink_to(tmp_path)
    (data / "pg_tblspc/16500").symlink_to(tmp_path / "unmounted")
    (data / "pg_tblspc/lost+found").mkdir()
    (data / ".s.PGSQL.5432.lock").write_text("1")
    found, seen = walked(data)
    assert found & set(seen.skipped) == set()
    assert ".s.PGSQL.5432.lock" not in found
    assert seen.skipped == {
        "backups": f"a link to '{tmp_path}', which is not one of the server's own",
        "base/loop": "a link to '../base', which leads to a folder above it",
        "base/self": "a link that cannot be followed: Too many levels of symbolic links",
        "link.conf": "a link to '/etc/hostname', which is not one of the server's own",
        "pg_hba.conf": "a link without a target",
        "pg_tblspc/16500": f"tablespace in '{tmp_path}/unmounted', which has no '{VERSION}'",
        "pg_tblspc/lost+found": "it is not a tablespace",
        "pipe": "a pipe, not a file",
    }


def test_sparse_files_and_rights_are_seen(data: Path) -> None:
    path = data / "base/5/9000"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    path.chmod(0o640)
    entries = {entry.path: entry for entry in Tree(data=data, version_folder=VERSION).entries()}
    assert (entries["base/5/9000"].is_sparse, entries["base/5/9000"].mode) == (True, 0o640)
    assert not entries["base/5/1259"].is_sparse
