"""Replacing a segment that was archived too early."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.errors import RepositoryReadOnly, WalConflict
from holdfast.model.fingerprints import fingerprint_of
from holdfast.operations.wal.push import push
from holdfast.pipeline.encryption import Identities
from tests.fakes.repository import MemoryRepository
from tests.support.memory_cluster import CLUSTER, DataDirectory, archiving
from tests.support.wal_writer import WalWriter
from tests.unit.operations.wal.test_push import names, only_what_is_recorded


def taken_early(
    tmp_path: Path,
    store: MemoryRepository,
    *,
    recipients: tuple[str, ...] = (),
    other: bool = False,
) -> Path:
    """A finished segment, of which an earlier release archived only the beginning."""
    server, wal = DataDirectory(tmp_path / "data"), WalWriter(identifier=CLUSTER)
    wal.filler(9000)
    path = server.wal / wal.name()
    if other:
        wal.commit(datetime(2026, 11, 20, tzinfo=UTC))
    path.write_bytes(wal.segments()[0])
    push(archiving(store, recipients=recipients), path, is_finished=True)
    if other:
        wal = WalWriter(identifier=CLUSTER)
        wal.filler(9000)
        wal.commit(datetime(2026, 11, 21, tzinfo=UTC))
        wal.commit(datetime(2026, 11, 22, tzinfo=UTC))
    wal.fill_to(0)
    path.write_bytes(wal.segments()[0])
    (server.wal / "archive_status" / f"{path.name}.ready").touch()
    return path


def test_a_segment_that_was_archived_unfinished_gives_way_to_the_finished_one(
    tmp_path: Path,
) -> None:
    store = MemoryRepository()
    path = taken_early(tmp_path, store)
    context = archiving(store)
    context.new_token()
    assert not push(context, path).was_there
    found = WalArchive(store, "shop").find(str(CLUSTER), path.name)
    assert found.part.plain_fingerprint == fingerprint_of(path.read_bytes())
    assert only_what_is_recorded(store)
    assert push(context, path).was_there


def test_an_unfinished_segment_of_another_history_is_a_conflict(tmp_path: Path) -> None:
    store = MemoryRepository()
    path = taken_early(tmp_path, store, other=True)
    before = dict(store.objects)
    with pytest.raises(WalConflict):
        push(archiving(store), path)
    assert store.objects == before


def test_a_sealed_unfinished_segment_is_replaced_where_its_identity_is_available(
    tmp_path: Path,
) -> None:
    store, identities = MemoryRepository(), Identities.generate()
    path = taken_early(tmp_path, store, recipients=identities.recipients)
    context = archiving(store, recipients=identities.recipients)
    context.new_token()
    before = dict(store.objects)
    with pytest.raises(WalConflict) as caught:
        push(context, path)
    assert f"holdfast wal push shop {path} --identity" in caught.value.hint
    assert store.objects == before
    assert not push(context, path, identities=identities).was_there
    assert push(context, path).was_there


def test_where_nothing_may_be_removed_an_unfinished_segment_stays_a_conflict(
    tmp_path: Path,
) -> None:
    store = MemoryRepository()
    path = taken_early(tmp_path, store)
    store.refuse_deletes_with = RepositoryReadOnly("cannot delete it: AccessDenied")
    context = archiving(store)
    context.new_token()
    with pytest.raises(WalConflict):
        push(context, path)
    assert names(store) == [path.name]
