"""A repository with every kind of object, and the state of its host."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.manifest import Failure
from holdfast.catalog.places import blob_key, mark_key, part_key
from holdfast.catalog.wal_archive import WalArchive
from holdfast.host_state.runs import FileJournal, FileRunHistory
from holdfast.locking.host_lock import this_process
from holdfast.locking.lease import Lease, Terms
from holdfast.model.backup import Blob, Codec, Manifest, Member, Part, PartKind, Relation, Server
from holdfast.model.fingerprints import BLAKE3, FAST, Algorithms, fingerprint_of
from holdfast.model.part_details import NOTHING, PostgresTable, details_of_schema_1
from holdfast.model.proof import BaseBackupProof
from holdfast.model.values import Span
from holdfast.model.wal_archive import ArchivedFile
from holdfast.operations.parts.blob_read import BlobNames
from holdfast.operations.parts.write import keep
from holdfast.pipeline.compression import compressor
from holdfast.ports.host_state import RunRecord, Unfinished
from holdfast.repositories.local import LocalRepository
from tests.fakes.clock import START, FakeClock
from tests.support.manifests import manifest

CONFIG = """\
state_directory: {run}/state
repositories:
  main: {{kind: local, path: {run}/repository, lease_time: 4s}}
  second: {{kind: local, path: {run}/second, lease_time: 4s}}
jobs:
  shop:
    source: {{kind: postgres, dsn: "dbname=shop"}}
    repository: main
    max_concurrent_processes: 2
    resumable: true
  other:
    source: {{kind: postgres, dsn: "dbname=other"}}
    repository: main
    max_concurrent_processes: 2
"""
FULL, PACKED, FILES, CHANGES, FAILED, MARKED = (
    f"202611{day:02}T020000Z-0000000{day}" for day in range(1, 7)
)
ROWS = PostgresTable(format="text", encoding="UTF8", columns=("id",))
LABEL = {"path": "backup_label", "tablespaces": "{}", "vanished": "[]"}
SEGMENT = 1 << 20
# Of what is found by its content.
PROVEN = Algorithms(plain=BLAKE3)
VALUE = b"a long value\n" * 1000


@dataclass(frozen=True)
class Sandbox:
    """A template that stays unchanged, and `run`, a copy of it to damage and to work with."""

    folder: Path

    @property
    def template(self) -> Path:
        return self.folder / "template"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def config(self) -> Path:
        return self.folder / "holdfast.yaml"

    def make(self) -> None:
        self.config.write_text(CONFIG.format(run=self.run))
        for name in ("repository", "second", "state", "restored", "outside"):
            (self.template / name).mkdir(parents=True)
        (self.template / "outside/untouched").write_text("as it was")
        store = LocalRepository(self.template / "repository")
        for job in ("shop", "other"):
            _fill(store, job)
        _remember(self.template / "state")

    def begin_anew(self) -> None:
        """Replace `run` by a fresh copy.

        Objects are never overwritten, so links to them suffice.
        """
        if self.run.exists():
            shutil.rmtree(self.run)
        shutil.copytree(
            self.template / "repository", self.run / "repository", copy_function=os.link
        )
        for name in ("state", "second", "restored", "outside"):
            shutil.copytree(self.template / name, self.run / name)


def _fill(store: LocalRepository, job: str) -> None:
    catalog = Catalog(store)
    for made in (_full(store, job), _packed(store, job), *_physical(store, job)):
        catalog.commit(made)
    catalog.record(_failure(job))
    _kept(store, part_key(f"{job}/{FAILED}", "data/orders.copy"), b"1\n")
    store.put(mark_key(f"{job}/{MARKED}"), [b'{\n "schema": "holdfast.pruned/1"\n}\n'])
    _kept(store, part_key(f"{job}/{MARKED}", "data/orders.copy"), b"1\n")
    _archive(store, job)
    terms = Terms(me=this_process(), run_id="0" * 32, lease_seconds=4.0, clock=FakeClock())
    lease = Lease(store, f"_leases/{job}", terms)
    lease.attempt(deadline=None)
    lease.release()


def _kept(
    store: LocalRepository, key: str, content: bytes, *, fingerprints: Algorithms = FAST
) -> Part:
    plain, stored = keep(
        store,
        f"{key}.zst",
        [content],
        compression=compressor(Codec.ZSTD, 1),
        recipients=(),
        fingerprints=fingerprints,
    )
    return Part(
        name=key.partition("/parts/")[2] or "part",
        key=f"{key}.zst",
        kind=PartKind.DATA,
        relation=Relation(schema="public", name="orders"),
        rows=content.count(b"\n"),
        plain_bytes=plain.size_bytes,
        plain_fingerprint=plain.fingerprint,
        stored_bytes=stored.size_bytes,
        stored_fingerprint=stored.fingerprint,
        codec=Codec.ZSTD,
        encryption="none",
        seconds=0.1,
        details=ROWS,
    )


def _backup(job: str, name: str, *parts: Part, days: int) -> Manifest:
    made = manifest(name, age=timedelta(days=60 - days))
    server = Server(kind="fake", version="1.0", database=job)
    return replace(made, job=job, engine="fake", server=server, parts=parts)


def _full(store: LocalRepository, job: str) -> Manifest:
    """A backup with a table in ranges, and a blob."""
    key = blob_key(job, BlobNames().name_of(fingerprint_of(VALUE)), "")
    kept = _kept(store, key, VALUE, fingerprints=PROVEN)
    blob = Blob(
        key=kept.key,
        plain_fingerprint=kept.plain_fingerprint,
        plain_bytes=kept.plain_bytes,
        stored_bytes=kept.stored_bytes,
        stored_fingerprint=kept.stored_fingerprint,
    )
    backup_id = f"{job}/{FULL}"
    ranges = [
        replace(part, details=replace(ROWS, pages=Span.parse(pages)))
        for pages, part in (
            ("0-8", _kept(store, part_key(backup_id, "data/orders-0.copy"), b"1\n2\n")),
            ("8-", _kept(store, part_key(backup_id, "data/orders-8.copy"), b"3\n")),
        )
    ]
    return replace(_backup(job, FULL, *ranges, days=1), blobs=(blob,))


def _packed(store: LocalRepository, job: str) -> Manifest:
    part = _kept(store, part_key(f"{job}/{PACKED}", "data/pack.sql"), b"head\n1\n2\n")
    members = tuple(
        Member(
            relation=Relation(schema="public", name=name),
            rows=1,
            offset=offset,
            plain_bytes=2,
            details=part.details,
        )
        for name, offset in (("one", 5), ("two", 7))
    )
    return _backup(job, PACKED, replace(part, relation=None, rows=2, members=members), days=2)


def _physical(store: LocalRepository, job: str) -> list[Manifest]:
    """A base backup, and an incremental backup on top of it."""
    made: list[Manifest] = []
    for name, start, days in ((FILES, 2, 3), (CHANGES, 4, 4)):
        backup_id = f"{job}/{name}"
        parts = [
            _file(store, backup_id, "packs/00000.tar", PartKind.FILE_PACK, _tar("base/5/1")),
            _file(store, backup_id, "files/base/5/3", PartKind.FILE, b"rows", path="base/5/3"),
            _file(
                store, backup_id, "files/global/pg_control", PartKind.CLOSING, b"control",
                path="global/pg_control",
            ),
            _file(store, backup_id, "files/backup_label", PartKind.CLOSING, b"label", **LABEL),
        ]  # fmt: skip
        proof = BaseBackupProof(
            system_identifier="77",
            timeline=1,
            start_lsn=f"0/{start:X}00028",
            stop_lsn=f"0/{start:X}00100",
            ended_at=datetime(2026, 11, 20, 2, tzinfo=UTC),
            parent=f"{job}/{FILES}" if name == CHANGES else "",
        )
        backup = _backup(job, name, *parts, days=days)
        server = Server(kind="postgres-cluster", version="17.2", database="cluster")
        made.append(replace(backup, proof=proof, server=server))
    return made


def _file(
    store: LocalRepository,
    backup_id: str,
    name: str,
    kind: PartKind,
    content: bytes,
    **details: str,
) -> Part:
    part = _kept(store, part_key(backup_id, name), content)
    return replace(part, kind=kind, relation=None, rows=None, details=details_of_schema_1(details))


def _tar(name: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"rows"))
    return packed.getvalue()


def _failure(job: str) -> Failure:
    return Failure(
        job=job,
        name=FAILED,
        run_id="0" * 32,
        host="db1",
        engine="fake",
        database="shop",
        started_at=START + timedelta(days=300),
        failed_at=START + timedelta(days=300),
        error="cannot read: cut off",
        hint="look at the server",
        exit_code=30,
        part="data/orders.copy",
        relation="public.orders",
        parts_kept=1,
    )


def _archive(store: LocalRepository, job: str) -> None:
    archive = WalArchive(store, job)
    for number in (2, 3, 4, 5):
        name = f"{1:08X}{0:08X}{number:08X}"
        key = archive.content_key("77", name, token="0123", suffix="")
        part = replace(
            _kept(store, key, bytes(SEGMENT), fingerprints=PROVEN),
            name=name,
            kind=PartKind.WAL,
            details=NOTHING,
        )
        archive.commit(
            ArchivedFile(
                job=job,
                cluster="77",
                name=name,
                host="db1",
                archived_at=START,
                part=replace(part, relation=None, rows=None),
            )
        )


def _remember(state: Path) -> None:
    ledger, journal = FileRunHistory(state / "runs"), FileJournal(state / "unfinished")
    for job in ("shop", "other"):
        ledger.record(
            RunRecord(
                job=job,
                run_id="0" * 32,
                outcome="failed",
                started_at=START,
                finished_at=START + timedelta(seconds=9),
                error="cannot read: cut off",
                exit_code=30,
            )
        )
        journal.begin(
            Unfinished(
                job=job,
                name=FAILED,
                run_id="0" * 32,
                database=job,
                snapshot="1",
                started_at=START,
                snapshot_at=START,
            )
        )
