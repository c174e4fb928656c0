"""An archive in memory, and a server's data directory to push from."""

from __future__ import annotations

import struct
from datetime import timedelta
from itertools import count
from pathlib import Path

from holdfast.model import Codec
from holdfast.operations.plugs import Archiving, JobSpec
from holdfast.retention import Policy
from tests.fakes.clock import FakeClock
from tests.fakes.repository import MemoryRepository
from tests.unit.segments import segment

CLUSTER = 77


class Server:
    """A data directory as far as archiving sees it."""

    def __init__(self, data: Path, *, cluster: int = CLUSTER) -> None:
        self.data = data
        self.cluster = cluster
        self.wal = data / "pg_wal"
        (self.wal / "archive_status").mkdir(parents=True)
        (data / "global").mkdir()
        (data / "global/pg_control").write_bytes(struct.pack("=Q", cluster))

    def finish(self, name: str, *, text: bytes = b"", is_ready: bool = True) -> Path:
        """A segment that the server has filled."""
        path = self.wal / name
        path.write_bytes(segment(name, text=text, identifier=self.cluster))
        if is_ready:
            (self.wal / "archive_status" / f"{name}.ready").touch()
        return path

    def branch(self, timeline: int, *lines: str) -> Path:
        path = self.wal / f"{timeline:08X}.history"
        path.write_text("\n".join(lines) + "\n")
        return path


def archiving(*repositories: MemoryRepository, recipients: tuple[str, ...] = ()) -> Archiving:
    tokens = count(1)
    return Archiving(
        job=JobSpec(
            name="shop",
            codec=Codec.ZSTD,
            level=3,
            timeout=None,
            retention=Policy(),
            recipients=recipients,
        ),
        repositories=repositories,
        host="db1",
        clock=FakeClock(step=timedelta(seconds=1)),
        new_token=lambda: f"{next(tokens):016x}",
    )
