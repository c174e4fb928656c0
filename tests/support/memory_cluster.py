"""A PostgreSQL cluster and its archive in memory; only its data directory is on disk."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.backup import Codec, Manifest, Server
from holdfast.model.proof import BaseBackupProof
from holdfast.operations.context import ArchiveContext, JobSpec, StoredForm
from holdfast.operations.prune import PruneReport, prune
from holdfast.operations.verify.backup import quick, verify
from holdfast.operations.wal.push import push
from tests.fakes.clock import FakeClock
from tests.fakes.repository import MemoryRepository
from tests.support.manifests import manifest
from tests.support.memory_job import MemoryJob
from tests.support.segments import segment

CLUSTER = 77


class DataDirectory:
    """A data directory with what archiving reads of it."""

    def __init__(self, data: Path, *, cluster: int = CLUSTER) -> None:
        self.data = data
        self.cluster = cluster
        self.wal = data / "pg_wal"
        (self.wal / "archive_status").mkdir(parents=True)
        (data / "global").mkdir()
        (data / "global/pg_control").write_bytes(struct.pack("=Q", cluster))

    def finish(self, name: str, *, text: bytes = b"", is_ready: bool = True) -> Path:
        """Write a segment that the server has filled."""
        path = self.wal / name
        path.write_bytes(segment(name, text=text, identifier=self.cluster))
        mark = "ready" if is_ready else "done"
        (self.wal / "archive_status" / f"{name}.{mark}").touch()
        return path

    def branch(self, timeline: int, *lines: str) -> Path:
        path = self.wal / f"{timeline:08X}.history"
        path.write_text("\n".join(lines) + "\n")
        return path


def archiving(*repositories: MemoryRepository, recipients: tuple[str, ...] = ()) -> ArchiveContext:
    tokens = count(1)
    return ArchiveContext(
        job=JobSpec(name="shop", form=StoredForm(codec=Codec.ZSTD, level=3, recipients=recipients)),
        repositories=repositories,
        host="db1",
        clock=FakeClock(step=timedelta(seconds=1)),
        new_token=lambda: f"{next(tokens):016x}",
    )


def name(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}00000000{number:08X}"


class MemoryCluster:
    """Base backups of job `shop` in a repository, and the WAL of their server."""

    def __init__(self, folder: Path) -> None:
        self.job = MemoryJob()
        self.server = DataDirectory(folder / "data")

    def back_up(self, start: int, stop: int, *, days_ago: int = 0, timeline: int = 1) -> Manifest:
        taken = replace(
            manifest(f"202611{20 - days_ago}T020000Z-0a0b0c0d", age=timedelta(days=days_ago)),
            engine="physical",
            server=Server(kind="postgres-cluster", version="17.2", database="cluster"),
            parts=(),
            proof=BaseBackupProof(
                system_identifier="77",
                timeline=timeline,
                start_lsn=f"0/{start:X}00028",
                stop_lsn=f"0/{stop:X}00100",
            ),
        )
        Catalog(self.job.repository).commit(taken)
        return taken

    def archive(self, *numbers: int, timeline: int = 1) -> None:
        for number in numbers:
            path = self.server.finish(name(number, timeline), is_ready=False)
            push(archiving(self.job.repository), path)

    def archived(self) -> list[str]:
        return [each.name.text for each in WalArchive(self.job.repository, "shop").held()]

    def problems(self, backup: Manifest) -> list[str]:
        full = verify(self.job.reader, backup.backup_id, workers=1)
        short = quick(self.job.repository, backup.backup_id)
        assert full.bad == short.bad
        return [each.name for each in full.bad]

    def prune(self, *, dry_run: bool = False) -> PruneReport:
        return prune(self.job.prune_context, dry_run=dry_run)
