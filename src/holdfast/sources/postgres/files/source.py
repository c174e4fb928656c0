"""A PostgreSQL cluster as a source of files."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from holdfast.model.backup import POSTGRES_CLUSTER, Consistency, PartPlan, Relation, Server
from holdfast.model.errors import ConfigInvalid, DatabaseUnreachable
from holdfast.model.wal_archive import Archiver
from holdfast.ports.sessions import RUN_LABEL, HeldKind, Holder
from holdfast.ports.source import Blobs, Finding, Snapshot, SourcePlan, TablePlan
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.events import reached
from holdfast.sources.keepalive import LOOK_SECONDS, joined, of_this_process
from holdfast.sources.postgres.files import archiver, cluster
from holdfast.sources.postgres.files.catalog_check import require_all
from holdfast.sources.postgres.files.cluster import ClusterFacts
from holdfast.sources.postgres.files.file_ranges import FileRange
from holdfast.sources.postgres.files.file_reader import unreadable
from holdfast.sources.postgres.files.part_plan import FileLayout, lay_out
from holdfast.sources.postgres.files.sampling import is_worth_compressing
from holdfast.sources.postgres.files.snapshot import PhysicalSnapshot, told_of
from holdfast.sources.postgres.files.tree import Entry, Seen
from holdfast.sources.postgres.server import databases, preflight
from holdfast.sources.postgres.server.login import Login

# A file of the server, one of the repository, its folder, and one in reserve.
FILES_PER_WORKER = 4
# What the interpreter, two sessions and the logs have open besides.
FILES_BESIDE = 64
# One that holds the backup, one that asks besides.
CONNECTIONS = 2


class PhysicalSource:
    """Obeys `ports.source.Source`.

    `holder` holds the backup's session; `fast` does not wait for a spread checkpoint.
    """

    engine = "native"

    def __init__(
        self,
        *,
        login: Login,
        holder: Holder,
        fast: bool = True,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._login = login
        self._holder = holder
        self._fast = fast
        self._look_seconds = look_seconds

    @property
    def database(self) -> str:
        return "cluster"

    def databases(self) -> Sequence[PhysicalSource]:
        return [self]

    def lag_seconds(self) -> float | None:
        return databases.lag_seconds(self._login)

    def check(self) -> list[Finding]:
        with cluster.session(self._login) as connection:
            found = cluster.facts(connection)
            free = preflight.connections_free(connection)
        seen = Seen()
        files = sum(1 for _ in _entries(found, seen))
        notes = [*told_of(seen), *require_all(self._login, found, seen)]
        checks = "are on" if found.has_checksums else "are off: damage would not be seen"
        return [
            Finding(
                subject="server",
                detail=f"PostgreSQL {found.version},"
                f" a {'standby' if found.is_standby else 'primary'}",
            ),
            Finding(subject="login", detail=f"'{self._login.user}'"),
            Finding(subject="files", detail=f"{files} in '{found.data}' can be listed"),
            *(Finding(subject="files", detail=each) for each in notes),
            Finding(subject="page checksums", detail=checks),
            Finding(subject="connections", detail=f"{free} free, {CONNECTIONS} needed"),
        ]

    def archiver(self) -> Archiver:
        return archiver.archiver(self._login)

    def connections_free(self) -> int:
        """Raises `DatabaseUnreachable` where the two sessions that are needed do not fit."""
        with cluster.session(self._login) as connection:
            free = preflight.connections_free(connection)
        if free < CONNECTIONS:
            raise DatabaseUnreachable(
                f"cannot begin a backup on '{self._login.server}': {free} connections are free,"
                f" {CONNECTIONS} are needed",
                hint="raise max_connections, or run the backup when fewer sessions are open",
            )
        return free

    def plan(self) -> SourcePlan:
        with cluster.session(self._login) as connection:
            found, seen = cluster.facts(connection), Seen()
            layout = _layout(found, seen)
        sums = "verified" if found.has_checksums else "not there: the cluster has none"
        return SourcePlan(
            server=Server(kind=POSTGRES_CLUSTER, version=found.version, database=self.database),
            tables=tuple(
                TablePlan(
                    relation=Relation(schema="files", name=part.details.get("path", part.name)),
                    estimated_bytes=part.estimated_bytes,
                    estimated_rows=0,
                    method=part.kind.value,
                    reason=_reason(part, len(layout.contents[part.name])),
                )
                for part in layout.parts
            ),
            consistency=Consistency.SNAPSHOT,
            notes=(
                f"page checksums are {sums}",
                "the WAL that a restore needs comes on top",
                *told_of(seen),
            ),
        )

    @contextmanager
    def open(
        self,
        *,
        workers: int,
        blobs: Blobs | None = None,  # noqa: ARG002  # files hold all of their values
        rejoin: str = "",
    ) -> Iterator[Snapshot]:
        _require_files(workers)
        # What is wrong with it is told before the server begins anything.
        cluster.asked(self._login)
        reached("backup-beginning")
        holding = (
            joined(self._holder, rejoin)
            if rejoin
            else self._holder.begin(HeldKind.BACKUP, label=RUN_LABEL, fast=self._fast)
        )
        with of_this_process(holding), ExitStack() as unheard:
            if not rejoin:
                unheard.enter_context(afterwards(holding.abort))
            found = cluster.asked(self._login)
            reached("cluster-asked")
            seen = Seen()
            layout = _layout(found, seen)
            reached("files-listed")
            snapshot = PhysicalSnapshot(
                found=found,
                holding=holding,
                layout=layout,
                name=holding.session_id or f"the backup of process {os.getpid()}",
                seen=seen,
                unproven=require_all(self._login, found, seen),
            )
            # From here on it is theirs who know of it to let it go.
            unheard.pop_all()
            with snapshot.tended(seconds=self._look_seconds):
                yield snapshot


def _layout(found: ClusterFacts, seen: Seen) -> FileLayout:
    worth = partial(is_worth_compressing, found.data)
    return lay_out(_entries(found, seen), is_worth_compressing=worth)


def _entries(found: ClusterFacts, seen: Seen) -> Iterator[Entry]:
    try:
        yield from found.tree.entries(seen)
    except OSError as error:
        raise unreadable(found.data, error) from error


def _reason(part: PartPlan, files: int) -> str:
    if not part.details:
        return f"{files} small files"
    piece = FileRange.of(part.details)
    found = f"from byte {piece.first} on" if piece else "big enough for a part of its own"
    return found if part.compress else f"{found}, as it is: a sample would not become smaller"


def _require_files(workers: int) -> None:
    """Raises `ConfigInvalid` where the workers would run out of open files half way."""
    needed = workers * FILES_PER_WORKER + FILES_BESIDE
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed != resource.RLIM_INFINITY and needed > allowed:
        most = max(1, (allowed - FILES_BESIDE) // FILES_PER_WORKER)
        raise ConfigInvalid(
            f"cannot start {workers} workers: they need {needed} open files, {allowed} are allowed",
            hint=f"set max_concurrent_processes to {most} or less, or raise LimitNOFILE"
            " (ulimit -n)",
        )
