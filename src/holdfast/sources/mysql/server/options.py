"""The options of a job, and how it treats what a snapshot does not protect.

Tables of engines without a snapshot are refused by name, or locked. Changes of definitions during
the backup are detected, or blocked.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Literal

from holdfast.model.backup import Relation, Selection
from holdfast.model.checksums import Policy
from holdfast.model.errors import BackupFailed, SnapshotLost, Unsupported
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.mysql.server.definition_text import as_stored, shown_by_server
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.sql import quoted, select
from holdfast.sources.mysql.server.tables import TRANSACTIONAL, Table

DdlPolicy = Literal["block", "detect", "ignore"]
LoosePolicy = Literal["refuse", "lock"]
VERSIONED = "SYSTEM VERSIONED"
TABLES_NAMED = 8
# Every INSERT may advance the counter: that is no change of the definition.
_COUNTER = re.compile(rb" AUTO_INCREMENT=\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which databases and tables to back up, and how to treat what a snapshot does not protect.

    Without `databases` it is the one of the address, without `tables` all tables. `ddl` is the
    policy for definitions that change during the backup, `loose_tables` the one for tables of
    engines without a snapshot. The lock is not requested while a statement older than
    `long_query_seconds` runs, or a replica lags by more than `most_lag_seconds`. It is requested
    for at most `wait_seconds`, and held for at most `hold_seconds`.
    """

    databases: Selection | None = None
    tables: Selection | None = None
    ddl: DdlPolicy = "detect"
    loose_tables: LoosePolicy = "refuse"
    long_query_seconds: float = 60.0
    most_lag_seconds: float = 600.0
    wait_seconds: float = 60.0
    hold_seconds: float = 10.0
    checksums: Policy = "auto"

    @property
    def takes_all_objects(self) -> bool:
        """Whether views, routines and events are included: not where tables were named."""
        return self.tables is None or self.tables.include == ("*",)

    def wants(self, relation: Relation) -> bool:
        """Whether a table is selected; patterns match its name or `database.table`."""
        if self.tables is None:
            return True
        names = (relation.name, str(relation))
        found = set(Selection(include=self.tables.include).of(names))
        return not found.isdisjoint(names) and not any(map(self.tables.excludes, names))

    def missing(self, database: str, names: set[str]) -> list[str]:
        """The tables that the job names without wildcards and that do not exist.

        In a job of several databases only `database.table` counts: a bare table name does not
        say which database must have it.
        """
        if self.tables is None:
            return []
        plain = [name for name in self.tables.include if not set(name) & set("*?[")]
        if self.databases is not None:
            plain = [name for name in plain if name.startswith(f"{database}.")]
        known = names | {f"{database}.{name}" for name in names}
        return [name for name in plain if name not in known]


def wanted(tables: Sequence[Table], options: Options, database: str) -> list[Table]:
    """The tables that a job covers; raises `BackupFailed` for a named one that does not exist, and
    `Unsupported` for those that cannot be backed up faithfully."""
    absent = options.missing(database, {table.relation.name for table in tables})
    if absent:
        raise BackupFailed(
            f"cannot back up table '{absent[0]}': database '{database}' has none of that name",
            hint="check tables and exclude_tables of the job",
        )
    chosen = [table for table in tables if options.wants(table.relation)]
    _refuse_unfaithful(chosen, options)
    return chosen


def loose(tables: Sequence[Table]) -> list[Table]:
    """The tables with rows of their own whose engine has no snapshot."""
    return [table for table in tables if table.owns_rows and table.engine != TRANSACTIONAL]


def without_rows(tables: Sequence[Table]) -> list[Table]:
    """The tables of which only the definition is backed up."""
    return [table for table in tables if not table.owns_rows]


def named(tables: Sequence[Table], *, with_engine: bool = False) -> str:
    """The names of the first few tables, for a message."""
    shown = [
        f"'{table.relation}'" + (f" ({table.engine or 'no engine'})" if with_engine else "")
        for table in tables[:TABLES_NAMED]
    ]
    more = len(tables) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _refuse_unfaithful(tables: Sequence[Table], options: Options) -> None:
    foreign = loose(tables)
    if options.loose_tables == "lock":
        # A table without an engine cannot be read, locked or not.
        foreign = [table for table in foreign if not table.engine]
    if foreign:
        raise Unsupported(
            f"cannot back up tables {named(foreign, with_engine=True)}: "
            f"only {TRANSACTIONAL} supports a snapshot",
            hint=f"ALTER TABLE ... ENGINE={TRANSACTIONAL}, name them in exclude_tables, or have"
            " writes to them wait while they are read: loose_tables: lock",
        )
    versioned = [table for table in tables if table.kind == VERSIONED]
    if versioned:
        raise Unsupported(
            f"cannot back up tables {named(versioned)}: their history would be lost",
            hint="system-versioned tables need mariadb-dump --dump-history; exclude_tables"
            " leaves them out",
        )


class KeptStill:
    """Read locks on loose tables, from the moment of the snapshot until the last one is read."""

    def __init__(self, holder: Session, tables: Sequence[Table]) -> None:
        self._holder = holder
        self._locked = {table.relation for table in loose(tables)}
        self._left = set(self._locked)
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        return sorted(str(relation) for relation in self._locked)

    def begin(self) -> None:
        """Lock the tables, so that writes wait; called under the lock of the whole server."""
        if self._locked:
            names = sorted(quoted(relation.name) for relation in self._locked)
            self._holder.run(f"LOCK TABLES {', '.join(f'{name} READ' for name in names)}")

    def before_reading(self, table: Table) -> None:
        """Raises `SnapshotLost` where the table is no longer locked: it may have been changed."""
        with self._lock:
            if table.relation in self._locked and not self._left:
                raise SnapshotLost(
                    f"cannot read table '{table.relation}' again: its lock was released",
                    hint="run the backup again",
                )

    def after_reading(self, table: Table) -> None:
        """Unlock the tables after the last one; raises `ConnectionLost` if the lock was lost."""
        with self._lock:
            if table.relation not in self._left:
                return
            # An answer proves that the session, and with it the lock, still existed.
            self._holder.run("UNLOCK TABLES" if self._left == {table.relation} else "DO 0")
            self._left.discard(table.relation)


class DdlCheck:
    """Obeys `rows.snapshot.TableGuard`: compares definitions unless DDL is to be ignored."""

    def __init__(self, seen: Mapping[str, bytes], kept: KeptStill, *, ddl: DdlPolicy) -> None:
        self._seen = seen
        self._kept = kept
        self._ddl = ddl

    def before_reading(self, table: Table) -> None:
        self._kept.before_reading(table)

    def after_reading(self, session: Session, tables: Sequence[Table]) -> None:
        if self._ddl != "ignore":
            # No ALTER can interfere: the transaction still locks the tables that it read.
            with as_stored(session):
                for table in tables:
                    self._require_unaltered(session, table)
        for table in tables:
            self._kept.after_reading(table)

    def _require_unaltered(self, session: Session, table: Table) -> None:
        name = table.relation.name
        now, _ = shown_by_server(session, "TABLE", name, column=1)
        if digest(now) != self._seen[name]:
            raise BackupFailed(
                f"cannot back up table '{table.relation}': it was altered after the snapshot",
                hint="run the backup again when that is over, or set ddl: block",
            )


def digest(definition: bytes) -> bytes:
    return sha256(_COUNTER.sub(b"", definition)).digest()


def hold_definitions(holder: Session, tables: Sequence[Table]) -> None:
    """Make every ALTER wait for this session: a transaction locks the definitions that it read."""
    holder.run("START TRANSACTION")
    for table in tables:
        holder.run(select("1", table.relation.name, "LIMIT 0"))
