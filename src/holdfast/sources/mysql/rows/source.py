"""A MySQL or MariaDB database as a source of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime

from holdfast.model import checksums
from holdfast.model.backup import Consistency
from holdfast.model.checksums import Chosen
from holdfast.model.errors import DatabaseUnreachable, SnapshotLost
from holdfast.model.units import size
from holdfast.ports.source import Blobs, Finding, Source, SourcePlan, TablePlan
from holdfast.runtime.cleanup import on_failure
from holdfast.runtime.clock import now
from holdfast.sources.mysql.rows import consistent_snapshot
from holdfast.sources.mysql.rows.consistent_snapshot import (
    SAVEPOINT,
    ConsistentSnapshot,
    wait_until_idle,
)
from holdfast.sources.mysql.rows.insert_text import Limits
from holdfast.sources.mysql.rows.lock import shortest_lock
from holdfast.sources.mysql.rows.part_plan import contents
from holdfast.sources.mysql.rows.snapshot import MysqlSnapshot, Pool
from holdfast.sources.mysql.server import databases
from holdfast.sources.mysql.server.accounts import read_access
from holdfast.sources.mysql.server.connection import Address, ConnectionLost
from holdfast.sources.mysql.server.content_checksum import Content
from holdfast.sources.mysql.server.definition_text import tables_shown
from holdfast.sources.mysql.server.definitions import read_definitions
from holdfast.sources.mysql.server.options import (
    DdlCheck,
    KeptStill,
    Options,
    digest,
    hold_definitions,
    loose,
    named,
    wanted,
    without_rows,
)
from holdfast.sources.mysql.server.privileges import require_grants, sight
from holdfast.sources.mysql.server.session import ServerVersion, Session, session
from holdfast.sources.mysql.server.tables import Table, listed_tables, read_tables

SMALLEST_PACKET_BYTES = 1 << 20
# What a second session of each worker, without which it is only slower, leaves to others.
CONNECTIONS_LEFT = 10
NAMED = 20


class MysqlSource(Source):
    """One database, read by two sessions for each worker: one sends rows, one makes the next ones.

    Where `options` name several databases, it is the whole server unless `database` names one.
    """

    engine = "native"

    def __init__(
        self,
        dsn: str,
        *,
        password: str | None = None,
        options: Options | None = None,
        database: str | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.options = options or Options()
        self._several = self.options.databases if database is None else None
        address = Address.parse(
            dsn, password=password, whole_server=self.options.databases is not None
        )
        self.address = address if database is None else replace(address, database=database)
        self._clock = clock
        self._variables: Mapping[str, str] | None = None

        def one_of(name: str) -> MysqlSource:
            return MysqlSource(dsn, password=password, options=options, database=name, clock=clock)

        self._one_of = one_of

    @property
    def database(self) -> str:
        return self.address.database

    def databases(self) -> Sequence[MysqlSource]:
        if self._several is None:
            return [self]
        return [self._one_of(name) for name in databases.chosen(self._several, self.address)]

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """A session for the length of the block; only the first one lists the server's variables.

        After a failure the next one lists them again: the server may be another one by then.
        """
        with on_failure(self._forget), session(self.address, known=self._variables) as opened:
            self._variables = opened.variables
            yield opened

    def _forget(self) -> None:
        self._variables = None

    def lag_seconds(self) -> float | None:
        return databases.lag_seconds(self.address)

    def check(self) -> list[Finding]:
        with self._session() as asking:
            version, tables = self._examined(asking)
            return [
                Finding(subject="server", detail=f"{version.kind} {version.number}"),
                Finding(subject="login", detail=asking.value("SELECT CURRENT_USER()")),
                Finding(subject="grants", detail="all that a whole backup needs"),
                sight(asking, version),
                Finding(subject="lock", detail=self._lock_name(asking, version)),
                Finding(subject="tables", detail=_counted(tables)),
                _packet(version),
                Finding(subject="connections free", detail=str(_connections_free(asking))),
            ]

    def connections_free(self) -> int:
        with self._session() as asking:
            # One more session, besides those of the workers, holds the lock.
            return max(0, _connections_free(asking) - 1)

    def plan(self) -> SourcePlan:
        with self._session() as asking:
            version, _ = self._examined(asking)
            database = self.address.database
            tables = wanted(read_tables(asking, database), self.options, database)
            return SourcePlan(
                server=version.server(database),
                tables=tuple(_planned(table) for table in tables),
                consistency=Consistency.SNAPSHOT,
                notes=(
                    f"one snapshot under lock: {self._lock_name(asking, version)}",
                    str(self._proven(tables)),
                    *definition_only(tables),
                ),
            )

    def _examined(self, asking: Session) -> tuple[ServerVersion, list[Table]]:
        """The server and the tables to back up, without their columns, keys and sizes.

        Raises the error that would prevent a backup.
        """
        version, database = ServerVersion.of(asking), self.address.database
        tables = wanted(listed_tables(asking, database), self.options, database)
        require_grants(asking, version, database, locks_tables=bool(loose(tables)))
        return version, tables

    def _proven(self, tables: Sequence[Table]) -> Chosen:
        sizes = {table.relation: table.data_bytes for table in tables if table.owns_rows}
        return checksums.chosen(sizes, self.options.checksums)

    def _lock_name(self, asking: Session, version: ServerVersion) -> str:
        stopped = consistent_snapshot.is_stopped_replica(asking, version)
        return shortest_lock(version, ddl=self.options.ddl, stopped=stopped).name

    @contextmanager
    def open(
        self,
        *,
        workers: int,
        blobs: Blobs | None = None,  # noqa: ARG002  # long values stay in their rows here
        rejoin: str = "",
    ) -> Iterator[MysqlSnapshot]:
        if rejoin:
            # MySQL has no way to join a snapshot that another session holds.
            raise SnapshotLost(f"cannot rejoin snapshot '{rejoin}': no session holds it")
        with ExitStack() as opened:
            # All sessions log in before the lock is requested: a login takes longer than the rest.
            holder = opened.enter_context(self._session())
            version, tables = self._examined(holder)
            limits = Limits.of(version)
            # A separate session locks the tables of engines without a snapshot.
            locking = opened.enter_context(self._session()) if loose(tables) else holder
            kept = KeptStill(locking, tables)
            readers = [opened.enter_context(self._session()) for _ in range(workers)]
            # The limit of a login does not tell its sessions: our workers', and other backups'.
            most = min(workers, _connections_free(holder) - workers - CONNECTIONS_LEFT)
            with suppress(DatabaseUnreachable):
                readers.extend(opened.enter_context(self._session()) for _ in range(most))
            try:
                for each in readers:
                    # A longer result must come back truncated, with a warning that readers check.
                    each.configure(group_concat_max_len=limits.longest_bytes)
                wait_until_idle(holder, version, self.options)
                taken = consistent_snapshot.begin(
                    readers,
                    holder,
                    version,
                    clock=self._clock,
                    options=self.options,
                    while_held=kept.begin,
                )
                found, ahead = self._read(holder, readers[:workers], tables)
                snapshot = self._described(
                    holder,
                    [readers[number::workers] for number in range(workers)],
                    version,
                    taken=taken,
                    kept=kept,
                    found=found,
                    ahead=ahead,
                )
            except ConnectionLost as error:
                raise SnapshotLost(f"cannot take the snapshot: {error.message}") from error
            yield snapshot

    def _read(
        self, holder: Session, readers: Sequence[Session], listed: Sequence[Table]
    ) -> tuple[list[Table], dict[str, bytes]]:
        """All tables of the database, and the definitions of those that were `listed` before.

        The server describes columns and keys to one session only, which takes as long as to print
        all definitions: other sessions ask for these in that time.
        """
        found: list[Table] = []

        def describe(session: Session) -> None:
            found.extend(read_tables(session, self.address.database, sizes="kept"))

        if self.options.ddl != "detect":
            # Blocked, they can be read once the tables are known and held. Ignored, nothing would
            # notice a table that changes between both answers.
            describe(holder)
            return found, {}
        names = [table.relation.name for table in listed]
        return found, tables_shown([holder, *readers], names, beside=describe)

    def _described(
        self,
        holder: Session,
        groups: Sequence[Sequence[Session]],
        version: ServerVersion,
        *,
        taken: ConsistentSnapshot,
        kept: KeptStill,
        found: Sequence[Table],
        ahead: Mapping[str, bytes],
    ) -> MysqlSnapshot:
        """The snapshot with its parts; definitions are read right after it was taken."""
        database, limits, options = self.address.database, Limits.of(version), self.options
        helpers = [group[0] for group in groups]
        tables = wanted(found, options, database)
        if options.ddl == "block" and version.mariadb:
            hold_definitions(holder, tables)
        taken_names = {each.relation.name for each in tables}
        left_out = sorted({each.relation.name for each in found} - taken_names)
        definitions = read_definitions(
            holder,
            database,
            tables,
            options=options,
            left_out=left_out,
            helpers=helpers,
            ahead=ahead,
        )
        for each in helpers:
            each.run(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
        access = read_access(holder, database, version)
        seen = {name: digest(sql) for name, sql in definitions.tables.items()}
        proven = self._proven(tables)
        proof = replace(
            taken.proof,
            content=str(proven),
            views_broken_at_source=", ".join(definitions.broken_views),
            locked_while_read=", ".join(kept.names),
            tables_left_out=f"{len(left_out)}: {', '.join(left_out[:NAMED])}" if left_out else "",
        )
        return MysqlSnapshot(
            server=version.server(database),
            taken=replace(taken, proof=proof),
            contents=contents(tables, definitions=definitions, access=access, limits=limits),
            pool=Pool(groups),
            limits=limits,
            guard=DdlCheck(seen, kept, ddl=options.ddl),
            summing=Content(proven),
            notes=(*definitions.notes, *access.notes, *definition_only(tables)),
        )


def _counted(tables: Sequence[Table]) -> str:
    few, bare = len(loose(tables)), len(without_rows(tables))
    others = f", {few} of them locked while they are read" if few else ""
    others += f", {bare} of them as their definition only" if bare else ""
    return f"{len(tables)}{others or ', all InnoDB'}"


def definition_only(tables: Sequence[Table]) -> tuple[str, ...]:
    """A note on the tables whose rows are stored elsewhere; empty where there are none."""
    found = without_rows(tables)
    if not found:
        return ()
    tables_named = named(found, with_engine=True)
    return (f"rows that are stored elsewhere are not backed up: {tables_named}",)


def _planned(table: Table) -> TablePlan:
    return TablePlan(
        relation=table.relation,
        estimated_bytes=table.data_bytes,
        estimated_rows=table.rows,
        method=table.method,
        reason=table.reason,
    )


def _packet(version: ServerVersion) -> Finding:
    small = version.max_allowed_packet < SMALLEST_PACKET_BYTES
    return Finding(
        subject="max_allowed_packet",
        detail=size(version.max_allowed_packet),
        problem="long rows would need very many pieces" if small else "",
        hint="SET GLOBAL max_allowed_packet = 67108864" if small else "",
    )


def _connections_free(asking: Session) -> int:
    connected = asking.text("SHOW GLOBAL STATUS LIKE 'Threads\\_connected'")[0][1]
    most, mine = asking.text("SELECT @@max_connections, @@max_user_connections")[0]
    # Our own session counts as connected, and will be closed.
    free = int(most) - int(connected) + 1
    return max(0, min(free, int(mine) - 1) if int(mine) else free)
