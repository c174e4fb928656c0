"""A PostgreSQL database as a place to restore into."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psycopg

from holdfast.model.backup import PartKind, Relation
from holdfast.model.errors import TargetNotEmpty, Unsupported
from holdfast.model.restore import Restored, StoredParts
from holdfast.ports.run import Progress
from holdfast.ports.target import RestoreRequest, Target
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.postgres.dump.restore import ArchiveRestore
from holdfast.sources.postgres.restore import selection
from holdfast.sources.postgres.restore.definition_parts import DefinitionParts
from holdfast.sources.postgres.restore.existing_tables import require_all_or_none
from holdfast.sources.postgres.restore.restore import Restore
from holdfast.sources.postgres.restore.staging_database import content, staged
from holdfast.sources.postgres.server import cluster, failures
from holdfast.sources.postgres.server.cluster import Cluster
from holdfast.sources.postgres.server.login import LOCK_WAIT_SECONDS, Login
from holdfast.sources.postgres.server.sql_text import qualified
from holdfast.sources.postgres.server.table_part import TablePart

APPLICATION_NAME = "holdfast-restore"


class PostgresTarget(Target):
    """A database of a PostgreSQL server.

    With `tables`, a database that is missing or empty gets the whole schema, the rows of those
    tables, and every foreign key whose both sides are complete; one that is not empty gets only
    the rows, into tables that must be there and hold none (or lose them, with `overwrite`).
    With `data_only` any database gets only rows.
    """

    def __init__(
        self,
        *,
        url: str,
        password: str | None = None,
        tool_folders: Sequence[Path] = (),
        lock_wait_seconds: int = LOCK_WAIT_SECONDS,
    ) -> None:
        # A name of its own for each restore: what is left of it can be found and ended.
        name = f"{APPLICATION_NAME}-{secrets.token_hex(4)}"
        login = Login.parse(
            url, password=password, application_name=name, lock_wait_seconds=lock_wait_seconds
        )
        login = replace(login, kept_in="the file of --password-file, or in --to")
        self._login = login.with_settings(application_name=name, dbname=login.database)
        self._tool_folders = tuple(tool_folders)

    @property
    def name(self) -> str:
        return f"database '{self._login.database}' on '{self._login.server}'"

    def restore(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> Restored:
        is_artefact = bool(selection.of_kind(request.parts, PartKind.ARCHIVE))
        options = selection.creation_options(request)
        if not is_artefact:
            selection.data_parts(request)
            for piece in selection.pieces(selection.of_kind(request.parts, PartKind.DATA)):
                # Before anything is dropped, or half filled.
                TablePart.of(piece)
        with cluster.connected(self._login, beside=self._login.database) as (server, maintenance):
            self._require_version(server, request)
            failed = FailedObjects(keep_going=request.keep_going)
            definitions = DefinitionParts(
                request=request, stored=stored, progress=progress, failed=failed
            )
            steps = Restore(
                request=request,
                stored=stored,
                progress=progress,
                definitions=definitions,
                failed=failed,
                login=self._login,
            )
            if is_artefact:
                return ArchiveRestore(steps=steps, tool_folders=self._tool_folders).run(
                    server, maintenance, options
                )
            return self._restore(request, steps, server, maintenance)

    def _restore(
        self, request: RestoreRequest, steps: Restore, server: Cluster, maintenance: Login
    ) -> Restored:
        if request.data_only or (request.tables and content(server, self._login)):
            require_all_or_none(request)
            self._require_tables(request)
            return steps.rows_only()
        with staged(
            server,
            self._login,
            selection.creation_options(request),
            overwrite=request.overwrite,
            before=lambda: steps.definitions.restore_globals(server, maintenance),
        ) as login:
            return steps.into(login).everything()

    def _require_version(self, server: Cluster, request: RestoreRequest) -> None:
        made_by = selection.server_version(request) // 10000
        if made_by > server.major:
            raise Unsupported(
                f"cannot restore into {self.name}: it runs version {server.version},"
                f" the backup was made by version {made_by}",
                hint=f"restore into a server of version {made_by} or later",
            )

    def _require_tables(self, request: RestoreRequest) -> None:
        with self._login.session() as connection:
            for piece in selection.pieces(selection.data_parts(request)):
                if selection.is_wanted(piece, request):
                    table = TablePart.of(piece)
                    self._require_table(connection, table, overwrite=request.overwrite)

    def _require_table(
        self, connection: psycopg.Connection, table: TablePart, *, overwrite: bool
    ) -> None:
        into = table.load_through or table.relation
        if not _exists(connection, into):
            raise TargetNotEmpty(
                f"cannot restore into {self.name}: it is not empty and has no table '{into}'",
                hint="restore into a new database, or create the table there first",
            )
        if table.owns_every_row and not overwrite and _has_rows(connection, into):
            raise TargetNotEmpty(
                f"cannot restore table '{into}' into {self.name}: it holds rows",
                hint="restore into a new database, or pass --overwrite to replace its rows",
            )


def _exists(connection: psycopg.Connection, relation: Relation) -> bool:
    found = connection.execute(
        "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')",
        [relation.schema, relation.name],
    )
    return found.fetchone() is not None


def _has_rows(connection: psycopg.Connection, relation: Relation) -> bool:
    statement = f"SELECT FROM ONLY {qualified(relation)} LIMIT 1"  # quoted name
    try:
        return connection.execute(statement.encode()).fetchone() is not None
    except psycopg.Error as error:
        raise failures.restoring(failures.said(error), f"table '{relation}'") from error
