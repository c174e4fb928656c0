"""What a snapshot does not hold still: refused by name, or kept still by a lock of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from holdfast.model.errors import BackupFailed, SnapshotLost, Unsupported
from holdfast.sources.mysql.server.names import quoted
from holdfast.sources.mysql.server.options import Options
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.tables import Table

TRANSACTIONAL = "InnoDB"
VERSIONED = "SYSTEM VERSIONED"
TABLES_NAMED = 8


def wanted(tables: Sequence[Table], choices: Options, database: str) -> list[Table]:
    """The tables that a job covers; raises `BackupFailed` for one that it names and is not there,
    and `Unsupported` for those that cannot be kept faithfully."""
    absent = choices.missing(database, {table.relation.name for table in tables})
    if absent:
        raise BackupFailed(
            f"cannot back up table '{absent[0]}': database '{database}' has none of that name",
            hint="see tables and exclude_tables of the job",
        )
    chosen = [table for table in tables if choices.wants(table.relation)]
    _refuse_unfaithful(chosen, choices)
    return chosen


def loose(tables: Sequence[Table]) -> list[Table]:
    """Those with rows of their own whose engine keeps no snapshot."""
    return [table for table in tables if table.owns_rows and table.engine != TRANSACTIONAL]


def without_rows(tables: Sequence[Table]) -> list[Table]:
    """Those of which only the definition is kept."""
    return [table for table in tables if not table.owns_rows]


def _refuse_unfaithful(tables: Sequence[Table], choices: Options) -> None:
    foreign = loose(tables)
    if choices.loose_tables == "lock":
        # Without an engine there is nothing that could be read.
        foreign = [table for table in foreign if not table.engine]
    if foreign:
        raise Unsupported(
            f"cannot back up tables {named(foreign, with_engine=True)}: "
            f"only {TRANSACTIONAL} keeps a snapshot",
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


def named(tables: Sequence[Table], *, with_engine: bool = False) -> str:
    """The first few of them, for a message."""
    shown = [
        f"'{table.relation}'" + (f" ({table.engine or 'no engine'})" if with_engine else "")
        for table in tables[:TABLES_NAMED]
    ]
    more = len(tables) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


class KeptStill:
    """Read locks on loose tables, from the moment of the snapshot until the last one is read."""

    def __init__(self, keeper: Session, tables: Sequence[Table]) -> None:
        self._keeper = keeper
        self._locked = {table.relation for table in loose(tables)}
        self._left = set(self._locked)
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        return sorted(str(relation) for relation in self._locked)

    def begin(self) -> None:
        """Writes to them wait from now on; asked for while the whole server is held."""
        if self._locked:
            names = sorted(quoted(relation.name) for relation in self._locked)
            self._keeper.run(f"LOCK TABLES {', '.join(f'{name} READ' for name in names)}")

    def before_reading(self, table: Table) -> None:
        """Raises `SnapshotLost` where the table is no longer locked: writes may have gone on."""
        with self._lock:
            if table.relation in self._locked and not self._left:
                raise SnapshotLost(
                    f"cannot read table '{table.relation}' again: its lock was given back",
                    hint="run the backup again",
                )

    def after_reading(self, table: Table) -> None:
        """After the last one writes go on; raises `ConnectionLost` where they did before."""
        with self._lock:
            if table.relation not in self._left:
                return
            # An answer proves that the session, and with it the lock, was still there.
            self._keeper.run("UNLOCK TABLES" if self._left == {table.relation} else "DO 0")
            self._left.discard(table.relation)
