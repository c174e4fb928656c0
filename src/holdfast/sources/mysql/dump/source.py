"""A MySQL or MariaDB database as the server's stock dump program prints it, read through pipes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from datetime import datetime

from holdfast.model.backup import Consistency, PartKind, PartPlan, Selection, Server
from holdfast.model.errors import SnapshotLost
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.proof import MysqlDumpProof
from holdfast.ports.source import (
    Blobs,
    Finding,
    PartStream,
    Snapshot,
    Source,
    SourcePlan,
    TablePlan,
)
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.clock import now
from holdfast.sources.mysql.dump import part_plan
from holdfast.sources.mysql.dump.part_plan import DumpDdlCheck, Dumped
from holdfast.sources.mysql.dump.pipe import Compressing, Pipes
from holdfast.sources.mysql.dump.programs import DumpCommand, Program, find_dump, prepared_login
from holdfast.sources.mysql.rows.insert_text import Limits
from holdfast.sources.mysql.rows.snapshot import TextStream
from holdfast.sources.mysql.rows.source import MysqlSource, definition_only
from holdfast.sources.mysql.server import privileges
from holdfast.sources.mysql.server.accounts import kept_out, read_access
from holdfast.sources.mysql.server.definitions import read_definitions
from holdfast.sources.mysql.server.options import Options, without_rows
from holdfast.sources.mysql.server.session import ServerVersion, Session, session
from holdfast.sources.mysql.server.tables import Table, read_tables

DATABASE_COLLATION = """
    SELECT default_character_set_name, default_collation_name
    FROM information_schema.schemata WHERE schema_name = %s"""


class MysqlToolsSource(Source):
    """One dump of the database, or one of each table where `as_tables`.

    With `selection` it is the whole server unless `database` names one of its databases. With
    `compressing` a program of the host compresses each dump, otherwise the pipeline does.
    """

    engine = "tools"

    def __init__(
        self,
        dsn: str,
        *,
        password: str | None = None,
        selection: Selection | None = None,
        database: str | None = None,
        as_tables: bool = False,
        compressing: Compressing | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        # The questions to the server that both engines share.
        self._native = MysqlSource(
            dsn, password=password, options=Options(databases=selection), database=database
        )
        self._address = self._native.address
        self._as_tables = as_tables
        self._compressing = compressing
        self._clock = clock

        def one_of(name: str) -> MysqlToolsSource:
            return MysqlToolsSource(
                dsn,
                password=password,
                selection=selection,
                database=name,
                as_tables=as_tables,
                compressing=compressing,
                clock=clock,
            )

        self._one_of = one_of

    @property
    def database(self) -> str:
        return self._address.database

    def databases(self) -> Sequence[MysqlToolsSource]:
        found = self._native.databases()
        if found == [self._native]:
            return [self]
        return [self._one_of(each.database) for each in found]

    def lag_seconds(self) -> float | None:
        return self._native.lag_seconds()

    def connections_free(self) -> int:
        return self._native.connections_free()

    def check(self) -> list[Finding]:
        with session(self._address) as asking:
            found = self._examined(asking)
            login = asking.value("SELECT CURRENT_USER()")
        free = self.connections_free()
        compressor = self._compressing.argv()[0] if self._compressing else "holdfast itself"
        return [
            Finding(subject="server", detail=f"{found.version.kind} {found.version.number}"),
            Finding(subject="login", detail=login),
            Finding(subject="grants", detail="all that a whole dump needs"),
            Finding(subject="dump", detail=f"{found.program.path} {found.program.version}"),
            Finding(subject="compressor", detail=compressor),
            Finding(subject="consistency", detail=self._consistency.value),
            Finding(subject="tables", detail=str(len(found.tables))),
            Finding(subject="connections free", detail=str(free)),
        ]

    def plan(self) -> SourcePlan:
        with session(self._address) as asking:
            found = self._examined(asking)
        name = found.program.name
        return SourcePlan(
            server=found.version.server(self.database),
            tables=tuple(self._planned(table, name) for table in found.tables),
            consistency=self._consistency,
            notes=(
                f"one {name} for each table, each with a moment of its own"
                if self._as_tables
                else f"one {name} for the whole database, in one transaction",
                *part_plan.notes(found.tables, kind=found.version.kind),
                *definition_only(found.tables),
            ),
        )

    @contextmanager
    def open(
        self,
        *,
        workers: int,  # noqa: ARG002  # each dump logs in by itself when its turn comes
        blobs: Blobs | None = None,  # noqa: ARG002  # a dump holds all of its values
        rejoin: str = "",
    ) -> Iterator[DumpSnapshot]:
        if rejoin:
            raise SnapshotLost(f"cannot rejoin snapshot '{rejoin}': a dump cannot join a snapshot")
        with session(self._address) as asking, session(self._address) as watching:
            found = self._examined(asking)
            taken_at = self._clock()
            ddl_check = DumpDdlCheck(watching, found.tables if self._as_tables else ())
            snapshot = self._described(asking, found, ddl_check, taken_at=taken_at)
            with afterwards(snapshot.abort):
                yield snapshot

    def _described(
        self, asking: Session, found: _Found, ddl_check: DumpDdlCheck, *, taken_at: datetime
    ) -> DumpSnapshot:
        program = found.program
        return DumpSnapshot(
            server=found.version.server(self.database),
            consistency=self._consistency,
            taken_at=taken_at,
            proof=self._proof(found),
            tools={program.name: program.version, **self._compressor()},
            contents=self._contents(asking, found, ddl_check),
            command=DumpCommand(program=program, database=self.database),
            pipes=Pipes(
                address=self._address,
                login=prepared_login(self._address, program.kind, asking.preparation),
                compressing=self._compressing,
            ),
            ddl_check=ddl_check,
            history=any(part_plan.versioned(table) for table in found.tables),
            without_rows=tuple(table.relation.name for table in without_rows(found.tables)),
            notes=(
                *definition_only(found.tables),
                *kept_out(asking, self.database, found.version),
            ),
        )

    def _contents(self, asking: Session, found: _Found, ddl_check: DumpDdlCheck) -> Dumped:
        access = read_access(asking, self.database, found.version)
        if self._as_tables:
            return part_plan.by_table(
                found.tables,
                definitions=read_definitions(
                    asking, self.database, found.tables, options=self._native.options
                ),
                access=access,
                limits=Limits.of(found.version),
                program=found.program.name,
                digests=ddl_check.digests,
            )
        character_set, collation = asking.text(DATABASE_COLLATION, self.database)[0]
        return part_plan.whole(
            self.database,
            found.tables,
            access,
            program=found.program.name,
            character_set=character_set,
            collation=collation,
        )

    def _proof(self, found: _Found) -> MysqlDumpProof:
        moment = (
            "the rows of each table show the moment at which its own dump began"
            if self._as_tables
            else "all tables are of one transaction; routines, events and grants are as of now"
        )
        inexact = part_plan.inexact(found.tables, kind=found.version.kind)
        return MysqlDumpProof(
            moment=moment,
            rounded_columns=", ".join(inexact.get("rounded_columns", ())),
            converted_columns=", ".join(inexact.get("converted_columns", ())),
            json_columns=", ".join(inexact.get("json_columns", ())),
        )

    def _compressor(self) -> dict[str, str]:
        if self._compressing is None:
            return {}
        return {self._compressing.program.value: f"level {self._compressing.level}"}

    @property
    def _consistency(self) -> Consistency:
        return Consistency.PER_TABLE if self._as_tables else Consistency.PER_DATABASE

    def _examined(self, asking: Session) -> _Found:
        """Check all that can be checked before a byte is read; raises what `check` raises."""
        version = ServerVersion.of(asking)
        program = find_dump(version)
        if self._compressing:
            self._compressing.argv()
        tables = read_tables(asking, self.database)
        wanted = part_plan.rights(version, self.database, tables, as_tables=self._as_tables)
        privileges.require(asking, wanted, f"database '{self.database}'")
        part_plan.refuse_unfaithful(tables, program, as_tables=self._as_tables)
        part_plan.refuse_libraries(asking, self.database, as_tables=self._as_tables)
        return _Found(version=version, program=program, tables=tables)

    def _planned(self, table: Table, program: str) -> TablePlan:
        locked = not part_plan.transactional(table)
        return TablePlan(
            relation=table.relation,
            estimated_bytes=table.data_bytes,
            estimated_rows=table.rows,
            method=program,
            reason="locked while it is read" if locked else "in a transaction of its dump",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the checks found on the server and on this host."""

    version: ServerVersion
    program: Program
    tables: list[Table]


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpSnapshot(Snapshot):
    """The dumps of one backup; each sees a moment of its own, see `consistency`."""

    server: Server = field()
    consistency: Consistency = field()
    taken_at: datetime = field()
    proof: MysqlDumpProof = field()
    tools: dict[str, str] = field()
    contents: Dumped
    command: DumpCommand
    pipes: Pipes
    ddl_check: DumpDdlCheck
    history: bool
    without_rows: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> Sequence[PartPlan]:
        return self.contents.plans

    @contextmanager
    def read(self, part: PartPlan) -> Iterator[PartStream]:
        text = self.contents.texts.get(part.name)
        if text is not None:
            yield TextStream(text)
        elif part.kind is PartKind.ARCHIVE:
            with self._whole() as stream:
                yield stream
        else:
            with self._rows_of(self.contents.tables[part.name]) as stream:
                yield stream

    def abort(self) -> None:
        self.pipes.endings.abort()

    @contextmanager
    def _whole(self) -> Iterator[PartStream]:
        def argv(login: int) -> list[str]:
            return self.command.whole(
                login=login, history=self.history, without_rows=self.without_rows
            )

        with self.pipes.dumping(argv, f"database '{self.command.database}'") as stream:
            yield stream

    @contextmanager
    def _rows_of(self, table: Table) -> Iterator[PartStream]:
        def argv(login: int) -> list[str]:
            return self.command.rows_of(
                table.relation.name,
                login=login,
                transactional=part_plan.transactional(table),
                history=part_plan.versioned(table),
            )

        def unaltered() -> None:
            self.ddl_check.require_unaltered(table)

        with self.pipes.dumping(argv, f"table '{table.relation}'", done=unaltered) as stream:
            yield stream
