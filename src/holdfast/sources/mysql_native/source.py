"""A MySQL or MariaDB database as a source of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from holdfast.errors import SnapshotLost, Unsupported
from holdfast.model import Consistency
from holdfast.ports import Blobs, Finding, SourcePlan, TablePlan
from holdfast.sources.mysql_native import moment
from holdfast.sources.mysql_native.accounts import read_access
from holdfast.sources.mysql_native.address import Address
from holdfast.sources.mysql_native.contents import contents
from holdfast.sources.mysql_native.definitions import read_definitions
from holdfast.sources.mysql_native.edition import Edition
from holdfast.sources.mysql_native.failures import ConnectionLost
from holdfast.sources.mysql_native.insert_text import Limits
from holdfast.sources.mysql_native.lock import shortest_lock
from holdfast.sources.mysql_native.moment import Moment
from holdfast.sources.mysql_native.privileges import require_grants
from holdfast.sources.mysql_native.session import PATIENCE_SECONDS, Session, session
from holdfast.sources.mysql_native.snapshot import MysqlSnapshot, Pool
from holdfast.sources.mysql_native.tables import Table, read_tables

TRANSACTIONAL = "InnoDB"
VERSIONED = "SYSTEM VERSIONED"
TABLES_NAMED = 8
# How long a read waits for an ALTER of its table that is under way.
METADATA_WAIT_SECONDS = 300
SMALLEST_PACKET_BYTES = 1 << 20


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MysqlSource:
    """One database, read by as many sessions as the snapshot is opened with."""

    engine = "native"

    def __init__(
        self,
        dsn: str,
        *,
        password: str | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._address = Address.parse(dsn, password=password)
        self._clock = clock

    @property
    def database(self) -> str:
        return self._address.database

    def databases(self) -> Sequence[MysqlSource]:
        return [self]

    def lag_seconds(self) -> float | None:
        return None

    def check(self) -> list[Finding]:
        with session(self._address) as asking:
            edition = Edition.of(asking)
            require_grants(asking, edition, self._address.database)
            tables = read_tables(asking, self._address.database)
            _refuse_unfaithful(tables)
            return [
                Finding(subject="server", detail=f"{edition.kind} {edition.version}"),
                Finding(subject="login", detail=asking.value("SELECT CURRENT_USER()")),
                Finding(subject="grants", detail="all that a whole backup needs"),
                Finding(subject="lock", detail=shortest_lock(edition).name),
                Finding(subject="tables", detail=f"{len(tables)}, all {TRANSACTIONAL}"),
                _packet(edition),
                Finding(subject="connections free", detail=str(_connections_free(asking))),
            ]

    def connections_free(self) -> int:
        with session(self._address) as asking:
            return _connections_free(asking)

    def plan(self) -> SourcePlan:
        with session(self._address) as asking:
            edition = Edition.of(asking)
            require_grants(asking, edition, self._address.database)
            tables = read_tables(asking, self._address.database)
            _refuse_unfaithful(tables)
            return SourcePlan(
                server=edition.server(self._address.database),
                tables=tuple(_planned(table) for table in tables),
                consistency=Consistency.SNAPSHOT,
                notes=(f"one snapshot under {shortest_lock(edition).name}",),
            )

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
            raise SnapshotLost(f"nobody holds snapshot '{rejoin}' any more")
        with ExitStack() as opened:
            # Every connection is there before the lock is asked for: logging in takes longest.
            holder = opened.enter_context(session(self._address))
            edition = Edition.of(holder)
            require_grants(holder, edition, self._address.database)
            _refuse_unfaithful(read_tables(holder, self._address.database))
            limits = Limits.of(edition)
            readers = [opened.enter_context(session(self._address)) for _ in range(workers)]
            try:
                for reader in (holder, *readers):
                    _prepare(reader, edition, limits)
                taken = moment.begin(readers, holder, edition, self._clock)
                snapshot = self._described(holder, readers, edition, taken)
            except ConnectionLost as error:
                raise SnapshotLost(f"cannot take the snapshot: {error.message}") from error
            yield snapshot

    def _described(
        self, holder: Session, readers: Sequence[Session], edition: Edition, taken: Moment
    ) -> MysqlSnapshot:
        """The snapshot with its parts: definitions are as of right after it was taken."""
        database, limits = self._address.database, Limits.of(edition)
        tables = read_tables(holder, database)
        _refuse_unfaithful(tables)
        definitions = read_definitions(holder, database, tables)
        access = read_access(holder, database, edition)
        if definitions.broken_views:
            names = ", ".join(definitions.broken_views)
            taken = replace(taken, proof=taken.proof | {"views_broken_at_source": names})
        return MysqlSnapshot(
            server=edition.server(database),
            moment=taken,
            contents=contents(tables, definitions, access, limits),
            pool=Pool(readers),
            limits=limits,
        )


def _prepare(reader: Session, edition: Edition, limits: Limits) -> None:
    """Nothing in the server's own settings may change what we read or end it early."""
    reader.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    reader.configure(
        time_zone="'+00:00'",
        group_concat_max_len=limits.longest_bytes,
        wait_timeout=PATIENCE_SECONDS,
        net_write_timeout=PATIENCE_SECONDS,
        sql_select_limit="DEFAULT",
        sql_big_selects=1,
        lock_wait_timeout=METADATA_WAIT_SECONDS,
    )
    if edition.mariadb:
        reader.configure(max_statement_time=0)
    else:
        reader.configure(max_execution_time=0)


def _refuse_unfaithful(tables: Sequence[Table]) -> None:
    """Raise `Unsupported` for tables that a snapshot cannot hold still."""
    foreign = [table for table in tables if table.engine != TRANSACTIONAL]
    if foreign:
        raise Unsupported(
            f"cannot back up tables {_named(foreign, with_engine=True)}: "
            f"only {TRANSACTIONAL} keeps a snapshot",
            hint=f"ALTER TABLE ... ENGINE={TRANSACTIONAL}, or move them to another database",
        )
    versioned = [table for table in tables if table.kind == VERSIONED]
    if versioned:
        raise Unsupported(
            f"cannot back up tables {_named(versioned)}: their history would be lost",
            hint="system-versioned tables need mariadb-dump --dump-history",
        )


def _named(tables: Sequence[Table], *, with_engine: bool = False) -> str:
    shown = [
        f"'{table.relation}'" + (f" ({table.engine or 'no engine'})" if with_engine else "")
        for table in tables[:TABLES_NAMED]
    ]
    more = len(tables) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _planned(table: Table) -> TablePlan:
    return TablePlan(
        relation=table.relation,
        estimated_bytes=table.data_bytes,
        estimated_rows=table.rows,
        method=table.method,
        reason=table.reason,
    )


def _packet(edition: Edition) -> Finding:
    size = edition.max_allowed_packet
    small = size < SMALLEST_PACKET_BYTES
    return Finding(
        subject="max_allowed_packet",
        detail=f"{size} bytes",
        problem="long rows would travel in very many pieces" if small else "",
        hint="SET GLOBAL max_allowed_packet = 67108864" if small else "",
    )


def _connections_free(asking: Session) -> int:
    connected = asking.text("SHOW GLOBAL STATUS LIKE 'Threads\\_connected'")[0][1]
    most, mine = asking.text("SELECT @@max_connections, @@max_user_connections")[0]
    # Our own session is one of those connected, and will be gone.
    free = int(most) - int(connected) + 1
    return max(0, min(free, int(mine) - 1) if int(mine) else free)
