"""The index caches summaries; the repository's own list decides what exists."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.manifest_index import ManifestIndex, Overview
from holdfast.operations.backup.job import backup
from holdfast.operations.usage import usage
from holdfast.repositories.local import LocalRepository
from tests.fakes.repository import MemoryRepository
from tests.support.memory_job import MemoryJob


class CountingRepository(MemoryRepository):
    """Counts lists and reads."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__()
        self.objects = objects
        self.opened: list[str] = []

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        self.opened.append(key)
        with super().open(key) as chunks:
            yield chunks


class Room:
    """Three backups, and an index of them."""

    def __init__(self, folder: Path) -> None:
        self.job = MemoryJob()
        for _ in range(3):
            backup(self.job.context)
        self.path = folder / "index" / "main.sqlite"
        self.repository = CountingRepository(self.job.repository.objects)

    def overview(self, job: str = "") -> tuple[Overview, list[str]]:
        """The manifests that were read for it."""
        self.repository.opened.clear()
        return ManifestIndex(self.repository, self.path).overview(job), list(self.repository.opened)

    @property
    def truth(self) -> list[str]:
        return [each.backup_id for each in Catalog(self.job.repository).survey().manifests]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def ids(overview: Overview) -> list[str]:
    return [each.backup_id for each in overview.summaries]


def test_the_second_time_no_manifest_is_read(room: Room) -> None:
    first, read = room.overview()
    assert len(read) == 3
    again, read = room.overview("shop")
    assert read == []
    assert again == first
    assert ids(first) == room.truth


def test_a_summary_says_what_its_manifest_says(room: Room) -> None:
    room.overview()
    remembered, _ = room.overview()
    manifests = Catalog(room.job.repository).survey().manifests
    assert list(remembered.summaries) == [each.summary for each in manifests]


def test_new_backups_are_read_and_those_that_are_gone_are_not_shown(room: Room) -> None:
    room.overview()
    newest = backup(room.job.context).manifest
    gone = room.truth[-1]
    Catalog(room.job.repository).discard(gone)
    found, read = room.overview()
    assert read == [f"{newest.backup_id}/manifest.json"]
    assert ids(found) == room.truth
    with closing(sqlite3.connect(room.path)) as database:
        assert database.execute("SELECT count(*) FROM summary").fetchone() == (3,)


def test_a_manifest_of_another_size_or_hash_is_read_again(room: Room) -> None:
    room.overview()
    longer, other = (f"{backup_id}/manifest.json" for backup_id in room.truth[:2])
    room.repository.objects[longer] += b"\n"
    room.repository.fingerprint_given[other] = "blake3:" + "f" * 64
    _, read = room.overview()
    assert sorted(read) == sorted([longer, other])


def test_a_manifest_that_was_changed_at_equal_size_is_read_again(
    room: Room, tmp_path: Path
) -> None:
    stored = LocalRepository(tmp_path / "repository")
    (tmp_path / "repository").mkdir()
    for key, content in room.job.repository.objects.items():
        stored.put(key, [content])
    index = ManifestIndex(stored, room.path)
    assert ids(index.overview()) == room.truth
    manifest = tmp_path / "repository" / room.truth[0] / "manifest.json"
    before, changed = manifest.stat(), bytearray(manifest.read_bytes())
    changed[200] ^= 1
    manifest.write_bytes(bytes(changed))
    # A tool that keeps times hides nothing.
    os.utime(manifest, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = index.overview()
    assert [each.backup_id for each in found.damaged] == [room.truth[0]]
    assert ids(found) == room.truth[1:]


def test_an_index_of_an_earlier_version_is_built_anew(room: Room) -> None:
    first, _ = room.overview()
    room.path.unlink()
    with closing(sqlite3.connect(room.path)) as database, database:
        database.execute(
            "CREATE TABLE summary (key TEXT PRIMARY KEY, size_bytes INTEGER, fingerprint TEXT,"
            " summary BLOB, seal TEXT) WITHOUT ROWID"
        )
    assert room.overview()[0] == first
    assert room.overview()[1] == []


@pytest.mark.parametrize(
    "column",
    ["size_bytes = size_bytes + 1", "summary = replace(summary, 'db1', 'db2')", "seal = ''"],
)
def test_a_damaged_row_is_read_again(room: Room, column: str) -> None:
    first, _ = room.overview()
    with closing(sqlite3.connect(room.path)) as database, database:
        database.execute(f"UPDATE summary SET {column}")
    again, read = room.overview()
    assert len(read) == 3
    assert again == first
    assert room.overview()[1] == []


def test_every_damage_to_the_file_leaves_the_list_right(room: Room) -> None:
    first, _ = room.overview()
    whole = room.path.read_bytes()
    for at in range(0, len(whole), 97):
        content = bytearray(whole)
        content[at] ^= 0xFF
        room.path.write_bytes(bytes(content))
        assert room.overview()[0] == first, f"byte {at}"
    room.path.write_bytes(b"no database at all" * 100)
    assert room.overview()[0] == first
    assert room.overview()[1] == []


def test_without_a_folder_to_write_to_everything_is_read(room: Room, tmp_path: Path) -> None:
    room.path = tmp_path / "missing" / "index" / "main.sqlite"
    for _ in range(2):
        found, read = room.overview()
        assert (ids(found), len(read)) == (room.truth, 3)


def test_a_damaged_manifest_is_never_remembered(room: Room) -> None:
    newest = room.truth[0]
    room.job.repository.flip_bit(f"{newest}/manifest.json", at=200)
    for _ in range(2):
        found = room.overview()[0]
        assert [each.backup_id for each in found.damaged] == [newest]
        assert len(found.summaries) == 2


def test_names_for_a_shell_change_no_file_and_read_no_manifest(room: Room) -> None:
    index = ManifestIndex(room.repository, room.path)
    assert index.remembered("shop") == []
    assert index.present("shop") == sorted(room.truth, reverse=True)
    assert (room.repository.opened, room.path.parent.exists()) == ([], False)
    room.overview()
    before = room.path.stat()
    room.path.parent.chmod(0o500)
    assert index.remembered("shop") == sorted(room.truth, reverse=True)
    assert room.path.stat() == before
    assert index.remembered("sho") == []


def test_usage_adds_up_what_is_stored() -> None:
    job = MemoryJob()
    made = [backup(job.context).manifest for _ in range(2)]
    job.repository.put("shop/blobs/ab/abcd.zst", [b"value"])
    job.repository.put("shop/20261119T020000Z-0badc0de/parts/x.zst", [b"half"])
    job.repository.put("_leases/shop/0000000000000001", [b"{}"])
    (found,) = usage(job.repository)
    manifests = sum(len(job.repository.objects[f"{each.backup_id}/manifest.json"]) for each in made)
    assert found.backups == 2
    assert found.backup_bytes == sum(each.stored_bytes for each in made) + manifests
    assert (found.blob_bytes, found.unfinished_bytes) == (5, 4)
    assert found.objects == len(job.repository.objects) - 1
    assert usage(job.repository, "stock") == []
