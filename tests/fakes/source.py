"""A source and a target in memory: small parts, and every kind of failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from holdfast.model.backup import Buffer, Consistency, Part, PartKind, PartPlan, Relation, Server
from holdfast.model.errors import HoldfastError, RestoreFailed, SnapshotLost, TargetNotEmpty
from holdfast.model.fingerprints import SHA256, fingerprint_of
from holdfast.model.part_details import CopiedRows
from holdfast.model.proof import Proof
from holdfast.model.restore import FailedObject, Restored, RestoredTable, StoredParts, Streamed
from holdfast.ports.run import Progress
from holdfast.ports.source import (
    Blobs,
    Finding,
    PartStream,
    Snapshot,
    Source,
    SourcePlan,
    TablePlan,
)
from holdfast.ports.target import RestoreRequest, Target
from tests.fakes.clock import START

PROOF = Proof(snapshot="00000003-0000001B-1")
SERVER = Server(kind="fake", version="1.0", database="shop")


@dataclass(frozen=True, kw_only=True)
class FakeTable:
    """A table with its rows; reading it raises `fails_with` after the first row.

    With `waits_for`, a read blocks until that event is set; `abort` sets it too.
    """

    relation: Relation
    rows: tuple[bytes, ...]
    fails_with: BaseException | None = None
    waits_for: threading.Event | None = None

    @property
    def part_name(self) -> str:
        return f"data/{self.relation.schema}.{self.relation.name}.copy".lower()

    @property
    def size_bytes(self) -> int:
        return sum(len(row) + 1 for row in self.rows)


def table(name: str, *rows: str, fails_with: BaseException | None = None) -> FakeTable:
    """A table of schema `public`."""
    return FakeTable(
        relation=Relation(schema="public", name=name),
        rows=tuple(row.encode() for row in rows),
        fails_with=fails_with,
    )


class FakeStream(PartStream):
    """The rows of one table, one per line, in a buffer that is reused, as in real streams."""

    rows: int | None = None

    def __init__(self, source: FakeTable, aborted: threading.Event) -> None:
        self._table = source
        self._aborted = aborted

    @property
    def memo(self) -> str:
        return f"seen in {self._table.relation}"

    def __iter__(self) -> Iterator[Buffer]:
        buffer = bytearray(max((len(row) + 1 for row in self._table.rows), default=1))
        if self._table.waits_for is not None:
            self._table.waits_for.wait()
        for number, row in enumerate(self._table.rows):
            if self._aborted.is_set():
                raise SnapshotLost(f"cannot read table '{self._table.relation}': aborted")
            if number and self._table.fails_with is not None:
                raise self._table.fails_with
            size = len(row) + 1
            buffer[:size] = row + b"\n"
            yield memoryview(buffer)[:size]
        if self._table.fails_with is not None:
            raise self._table.fails_with
        self.rows = len(self._table.rows)


@dataclass(slots=True)
class FakeSnapshot(Snapshot):
    """One moment of the tables, which a later run may resume."""

    tables: tuple[FakeTable, ...]
    server: Server = SERVER
    consistency: Consistency = Consistency.SNAPSHOT
    taken_at: datetime = START
    proof: Proof = PROOF
    tools: dict[str, str] = field(default_factory=lambda: {"fake_dump": "1.0"})
    aborted: threading.Event = field(default_factory=threading.Event)
    reading: int = 0
    reading_peak: int = 0
    read_names: list[str] = field(default_factory=list)
    went_on_from: list[str] = field(default_factory=list)
    memo: str = "what the snapshot found out"
    releases: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def parts(self) -> Sequence[PartPlan]:
        return _plans(self.tables)

    @contextmanager
    def read(self, part: PartPlan) -> Iterator[FakeStream]:
        with self._lock:
            self.reading += 1
            self.reading_peak = max(self.reading_peak, self.reading)
            self.read_names.append(part.name)
        try:
            found = next(each for each in self.tables if each.part_name == part.name)
            yield FakeStream(found, self.aborted)
        finally:
            with self._lock:
                self.reading -= 1

    def go_on_from(self, stored: Sequence[Part]) -> None:
        self.went_on_from += [part.name for part in stored]

    def release(self, *, finished: bool) -> None:
        self.releases.append("finished" if finished else "given up")

    def abort(self) -> None:
        self.aborted.set()
        for each in self.tables:
            if each.waits_for is not None:
                each.waits_for.set()


@dataclass
class ClosingFakeSnapshot(FakeSnapshot):
    """A snapshot whose `last` tables are read as closing parts."""

    last: tuple[FakeTable, ...] = ()
    fails_with: HoldfastError | None = None
    stored_before: list[str] = field(default_factory=list)

    def closing_parts(self, stored: Sequence[Part]) -> Sequence[PartPlan]:
        if self.fails_with is not None:
            raise self.fails_with
        self.stored_before += [part.name for part in stored]
        self.tables += self.last
        return _plans(self.last)


def _plans(tables: Sequence[FakeTable]) -> Sequence[PartPlan]:
    plans = (
        PartPlan(
            name=each.part_name,
            kind=PartKind.DATA,
            relation=each.relation,
            estimated_bytes=each.size_bytes,
            details=CopiedRows(format="text"),
        )
        for each in tables
    )
    return sorted(plans, key=lambda plan: -plan.estimated_bytes)


class FakeSource(Source):
    """A source in memory; `refuse_with` is the error of a server that is down or rejects us."""

    engine = "fake"

    def __init__(
        self,
        *tables: FakeTable,
        refuse_with: HoldfastError | None = None,
        connections_free: int = 20,
        name: str = SERVER.database,
    ) -> None:
        self.name = name
        self.others: list[FakeSource] = []
        self.held = ""
        self.values: set[bytes] = set()
        self.large_objects: set[bytes] = set()
        self.lag: float | None = None
        self.last: tuple[FakeTable, ...] = ()
        self.closing_fails_with: HoldfastError | None = None
        self.tables = tables
        self.refuse_with = refuse_with
        self.opened = 0
        self.closed = 0
        self.snapshots: list[FakeSnapshot] = []
        self.memos: list[str] = []
        self._connections_free = connections_free

    @property
    def database(self) -> str:
        return self.name

    def knowing(self, memo: str) -> FakeSource:
        self.memos.append(memo)
        return self

    def databases(self) -> Sequence[FakeSource]:
        self._refuse()
        return self.others or [self]

    def lag_seconds(self) -> float | None:
        return self.lag

    def check(self) -> list[Finding]:
        self._refuse()
        return [Finding(subject="server", detail=f"{SERVER.kind} {SERVER.version}")]

    def connections_free(self) -> int:
        self._refuse()
        return self._connections_free

    def plan(self) -> SourcePlan:
        self._refuse()
        plans = tuple(
            TablePlan(
                relation=each.relation,
                estimated_bytes=each.size_bytes,
                estimated_rows=len(each.rows),
                method="text",
                reason="the only way a fake knows",
            )
            for each in self.tables
        )
        return SourcePlan(server=SERVER, tables=plans, consistency=Consistency.SNAPSHOT)

    @contextmanager
    def open(
        self, *, workers: int, blobs: Blobs | None = None, rejoin: str = ""
    ) -> Iterator[FakeSnapshot]:
        self._refuse()
        if rejoin and rejoin != self.held:
            raise SnapshotLost(f"cannot rejoin snapshot '{rejoin}': no session holds it")
        self.opened += 1
        server = replace(SERVER, database=self.name)
        snapshot = (
            ClosingFakeSnapshot(
                self.tables, server=server, last=self.last, fails_with=self.closing_fails_with
            )
            if self.last
            else FakeSnapshot(self.tables, server=server)
        )
        self.snapshots.append(snapshot)
        if blobs is not None:
            for value in self.values:
                # A server names some of its values itself, as PostgreSQL does within rows.
                blobs.keep(fingerprint_of(value, SHA256), len(value), [value].copy)
            for value in self.large_objects:
                blobs.take([value].copy)
        try:
            yield snapshot
        finally:
            self.closed += 1

    def _refuse(self) -> None:
        if self.refuse_with is not None:
            raise self.refuse_with


class FakeTarget(Target):
    """A target in memory; `tables` holds the restored bytes by relation."""

    name = "fake://target/shop"

    def __init__(self, *, name: str = name, existing: Sequence[str] = ()) -> None:
        self.name = name
        self.tables: dict[str, bytes] = dict.fromkeys(existing, b"")
        self.requests: list[RestoreRequest] = []
        self.failed: tuple[FailedObject, ...] = ()
        self.preamble = ""
        self.notes: tuple[str, ...] = ()

    def restore(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> Restored:
        self.requests.append(request)
        if self.tables and not request.options.overwrite:
            raise TargetNotEmpty(
                f"cannot restore into '{self.name}': it contains tables",
                hint="name an empty database, or pass --overwrite if that is intended",
            )
        wanted = [part for part in request.parts if _is_wanted(part, request.tables)]
        tables = tuple(self._load(part, stored.streamed(part), progress) for part in wanted)
        return Restored(tables=tables, failed=self.failed, preamble=self.preamble, notes=self.notes)

    def _load(
        self,
        part: Part,
        opened: AbstractContextManager[Streamed],
        progress: Progress,
    ) -> RestoredTable:
        if part.relation is None:
            raise RestoreFailed(f"cannot restore '{part.name}': a fake knows tables only")
        with opened as chunks:
            content = b"".join(chunks)
        self.tables[str(part.relation)] = content
        progress.part_done(part.name)
        return RestoredTable(
            relation=part.relation,
            rows_expected=part.rows or 0,
            rows_found=content.count(b"\n"),
        )


def _is_wanted(part: Part, tables: Sequence[Relation]) -> bool:
    return part.kind is PartKind.DATA and (not tables or bool(set(tables) & set(part.relations)))
