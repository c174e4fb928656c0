"""How a base backup ends, with a server in memory and its files on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.errors import BackupFailed, SessionCorrupt, SnapshotLost
from holdfast.holding import HeldKind
from holdfast.model import PartKind
from holdfast.ports import Closing
from holdfast.sources.postgres_physical.cluster import ClusterFacts
from holdfast.sources.postgres_physical.layout import lay_out
from holdfast.sources.postgres_physical.snapshot import PhysicalSnapshot
from tests.engine.waiting import until
from tests.fakes.holder import FakeHolder, FakeHolding
from tests.unit.sources.postgres_physical.test_wal import MIB, header

SEGMENT = "000000010000000000000030"
IDENTIFIER = "7300000000000000001"


def snapshot(folder: Path, *, with_wal: bool = True) -> tuple[PhysicalSnapshot, FakeHolding]:
    data = folder / "data"
    for name, content in (("global/pg_control", b"control"), ("base/5/1259", b"rows")):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    (data / "pg_wal").mkdir()
    (data / "pg_tblspc").mkdir()
    if with_wal:
        whole = header(SEGMENT, identifier=int(IDENTIFIER)).ljust(MIB, b"\0")
        (data / "pg_wal" / SEGMENT).write_bytes(whole)
    facts = ClusterFacts(
        version="17.0",
        version_number=170000,
        data=data,
        wal_segment_bytes=MIB,
        has_checksums=False,
        system_identifier=IDENTIFIER,
        catalog_version=202406281,
        tablespaces={"16400": "/srv/space"},
    )
    holding = FakeHolder().begin(HeldKind.BACKUP, label="", fast=True)
    layout = lay_out(facts.tree.entries())
    return PhysicalSnapshot(found=facts, holding=holding, layout=layout, name="x"), holding


def test_what_comes_last_is_wal_control_labels_and_a_manifest_of_all_files(tmp_path: Path) -> None:
    given, holding = snapshot(tmp_path)
    assert isinstance(given, Closing)
    for part in given.parts:
        with given.read(part) as stream:
            list(stream)
    closing = given.closing_parts([])
    assert not holding.is_open
    kinds = [part.kind for part in closing]
    assert kinds == [PartKind.WAL, *[PartKind.CLOSING] * 3]
    texts = {}
    for part in closing:
        with given.read(part) as stream:
            texts[part.details["path"]] = b"".join(bytes(chunk) for chunk in stream)
    assert texts["global/pg_control"] == b"control"
    assert texts["backup_label"].startswith(b"START WAL LOCATION")
    assert len(texts[f"pg_wal/{SEGMENT}"]) == MIB
    manifest = json.loads(texts["backup_manifest"])
    paths = [each["Path"] for each in manifest["Files"]]
    assert paths == ["backup_label", "base/5/1259", "global/pg_control"]
    (label,) = [part for part in closing if part.details["path"] == "backup_label"]
    assert json.loads(label.details["tablespaces"]) == {"16400": "/srv/space"}


def test_without_its_wal_there_is_no_backup(tmp_path: Path) -> None:
    given, _ = snapshot(tmp_path, with_wal=False)
    with pytest.raises(BackupFailed, match="cannot collect WAL segment"):
        given.closing_parts([])


def test_wal_that_is_recycled_while_it_is_read_is_found(tmp_path: Path) -> None:
    given, _ = snapshot(tmp_path)
    wal = given.closing_parts([])[0]
    other = header("000000010000000000000050", identifier=int(IDENTIFIER)).ljust(MIB, b"\0")
    (given.found.data / "pg_wal" / SEGMENT).write_bytes(other)
    with given.read(wal) as stream, pytest.raises(BackupFailed, match="it holds what belongs"):
        list(stream)


def test_a_session_that_dies_is_noticed_while_files_are_read(tmp_path: Path) -> None:
    given, holding = snapshot(tmp_path)
    holding.problem = SessionCorrupt("cannot use the session on 'x': it was restarted")
    with given.tended(seconds=0.001):
        until(lambda: holding.looks > 0)
    with pytest.raises(SessionCorrupt):
        given.require_alive()
    with pytest.raises(SessionCorrupt):
        given.closing_parts([])


def test_an_abort_ends_all_reads(tmp_path: Path) -> None:
    given, _ = snapshot(tmp_path)
    given.abort()
    with given.read(given.parts[0]) as stream, pytest.raises(SnapshotLost):
        list(stream)
