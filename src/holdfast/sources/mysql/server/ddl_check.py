"""Whether a table is still what it was when the snapshot was taken."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256

from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.server.engine_support import KeptStill
from holdfast.sources.mysql.server.names import select
from holdfast.sources.mysql.server.options import DdlPolicy
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.show_create import as_stored, shown_by_server
from holdfast.sources.mysql.server.tables import Table

# Every INSERT moves it on; that is no change of the table.
_COUNTER = re.compile(rb" AUTO_INCREMENT=\d+")


def digest(definition: bytes) -> bytes:
    return sha256(_COUNTER.sub(b"", definition)).digest()


def hold_definitions(holder: Session, tables: Sequence[Table]) -> None:
    """Let every ALTER wait for this session: who has read from a table keeps its definition."""
    holder.run("START TRANSACTION")
    for table in tables:
        holder.run(select("1", table.relation.name, "LIMIT 0"))


class DdlCheck:
    """Obeys `streams.Guarded`: compares definitions unless DDL is to be ignored."""

    def __init__(self, seen: Mapping[str, bytes], kept: KeptStill, *, ddl: DdlPolicy) -> None:
        self._seen = seen
        self._kept = kept
        self._ddl = ddl

    def before_reading(self, table: Table) -> None:
        self._kept.before_reading(table)

    def after_reading(self, session: Session, tables: Sequence[Table]) -> None:
        if self._ddl != "ignore":
            # No ALTER can come between: what was read stays locked against it until we move on.
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
                hint="run the backup again when that is over, or hold it off: ddl: block",
            )
