"""Inspecting the artefacts of pg_dump, and pg_dump itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.model.backup import Part, PartKind, PartPlan
from holdfast.ports.source import Snapshot
from holdfast.ports.target import RestoreRequest
from holdfast.sources.postgres.target import PostgresTarget
from tests.support.loop import Unwatched, opener
from tests.support.postgres_server import PostgresServer

ALWAYS_PLAIN = 0
BIG = "CREATE TABLE big AS SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 40000) g"


def archive_of(parts: Sequence[Part]) -> Part:
    (part,) = (part for part in parts if part.kind is PartKind.ARCHIVE)
    return part


def archive_plan(snapshot: Snapshot) -> PartPlan:
    (part,) = (part for part in snapshot.parts if part.kind is PartKind.ARCHIVE)
    return part


def restored_with(
    server: PostgresServer, request: RestoreRequest, folder: Path, database: str
) -> None:
    PostgresTarget(url=server.conninfo(database)).restore(request, opener(folder), Unwatched())


def children(program_name: str, *, of: int) -> list[int]:
    """The running children of a process with that name."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            # pid (comm) state ppid
            pid, _, rest = (folder / "stat").read_text().partition(" ")
        except (OSError, NotADirectoryError):
            continue
        name, _, status = rest.rpartition(") ")
        if name == f"({program_name}" and int(status.split()[1]) == of:
            found.append(int(pid))
    return found
