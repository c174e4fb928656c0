"""How the dump program is asked: arguments only, no secret among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.sources.mysql.dump.programs import Program
from holdfast.sources.mysql.server.version import MYSQL

# The last line of a dump that came to its end.
COMPLETED = b"-- Dump completed"
# `--complete-insert`: rows name their columns, so invisible and generated ones come out right.
# No DROP TABLE: a dump piped into the wrong database must not empty it.
EVERY_DUMP = (
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
    "--quick",
    "--hex-blob",
    "--complete-insert",
    "--no-tablespaces",
    "--skip-add-drop-table",
    "--skip-add-locks",
    "--skip-dump-date",
)
ONLY_ROWS = ("--no-create-info", "--skip-triggers")
WHOLE_DATABASE = ("--routines", "--events", "--triggers")
ONE_TRANSACTION = "--single-transaction"
LOCKED = "--lock-tables"
WITH_HISTORY = "--dump-history"


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpCommand:
    """One kind of dump, of one database."""

    program: Program
    database: str

    def rows_of(
        self, table: str, *, login: int, transactional: bool, history: bool = False
    ) -> list[str]:
        """The rows of one table; one without transactions is locked while it is read."""
        how = (ONE_TRANSACTION,) if transactional else (LOCKED,)
        past = (WITH_HISTORY,) if history else ()
        return [*self._head(login), *ONLY_ROWS, *how, *past, "--", self.database, table]

    def whole(
        self, *, login: int, history: bool = False, without_rows: Sequence[str] = ()
    ) -> list[str]:
        """Everything in the database, as of one moment; of some tables only the definition."""
        past = (WITH_HISTORY,) if history else ()
        # MySQL's program knows by itself, and has no such option.
        bare = [
            f"--ignore-table-data={self.database}.{name}"
            for name in without_rows
            if self.program.kind != MYSQL
        ]
        how = (*WHOLE_DATABASE, ONE_TRANSACTION, *past, *bare)
        return [*self._head(login), *how, "--", self.database]

    def _head(self, login: int) -> list[str]:
        # A dump into another server must not change what that server thinks it has replicated.
        own = ("--set-gtid-purged=OFF",) if self.program.kind == MYSQL else ()
        # First by the program's own rule; nothing of the host's files is read besides.
        return [
            self.program.path,
            f"--defaults-file=/dev/fd/{login}",
            *EVERY_DUMP,
            *own,
        ]
