"""Whether tables are still what they were when their definitions were read."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.server.ddl_check import digest
from holdfast.sources.mysql.server.failures import ConnectionLost, StatementFailed, table_failed
from holdfast.sources.mysql.server.names import quoted
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.tables import Table


class DumpDdlCheck:
    """Remembers definitions; asked again after a table's rows were read, from any thread.

    Rows are dumped by a session of their own, at a moment of their own: only what stands the
    same on both sides of it is known to fit them.
    """

    def __init__(self, session: Session, tables: Sequence[Table]) -> None:
        self._session = session
        self._lock = threading.Lock()
        session.configure(character_set_results="binary")
        self.digests = {table.relation.name: self._digest(table) for table in tables}

    def require_unaltered(self, table: Table) -> None:
        """Raise `BackupFailed` naming the table where it is another one by now."""
        with self._lock:
            if self._digest(table) == self.digests[table.relation.name]:
                return
        raise BackupFailed(
            f"cannot back up table '{table.relation}': it was altered while it was read",
            hint="run the backup again when that is over",
        )

    def _digest(self, table: Table) -> str:
        try:
            rows, _ = self._session.fetch(f"SHOW CREATE TABLE {quoted(table.relation.name)}")
        except StatementFailed as error:
            raise table_failed(str(table.relation), error) from error
        except ConnectionLost as error:
            raise BackupFailed(
                f"cannot tell whether table '{table.relation}' was altered: {error.message}"
            ) from error
        return digest(rows[0][1] or b"").hex()
