"""One restore of an artefact of pg_dump under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psycopg
import structlog

from holdfast.errors import RestoreFailed, TargetNotEmpty, Unsupported
from holdfast.model import Part, PartKind, Relation
from holdfast.ports import Progress, RestoreRequest
from holdfast.proven import StoredParts
from holdfast.sources.postgres_native import failures, script, selection, statements, tools
from holdfast.sources.postgres_native.cluster import Cluster
from holdfast.sources.postgres_native.filling import content, filling
from holdfast.sources.postgres_native.login import Login
from holdfast.sources.postgres_native.quoting import qualified
from holdfast.sources.postgres_native.tools import Tool
from holdfast.sources.postgres_tools import artefact, contents, spool
from holdfast.sources.postgres_tools.artefact import Listed
from holdfast.sources.postgres_tools.pg_restore import PgRestore
from holdfast.sources.postgres_tools.spool import Artefact

log = structlog.get_logger()

UNDEFINED = ("42P01", "3F000")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactRestore:
    """What every step needs; `login` leads to the database that is filled.

    pg_dump counts no rows, so nothing can be counted against: that every byte is the one that
    was stored, and that the tool met no error, is the proof.
    """

    request: RestoreRequest
    stored: StoredParts
    progress: Progress
    psql: Tool
    login: Login
    tool_folders: Sequence[Path] = ()

    def run(self, server: Cluster, maintenance: Login, creation: Mapping[str, str]) -> None:
        self._refuse_what_plain_sql_cannot()
        wanted = _wanted(self._part, self.request)
        if self.request.data_only or (wanted and content(server, self.login)):
            self._rows_only(server, wanted)
            return
        with filling(server, self.login, creation, overwrite=self.request.overwrite) as login:
            replace(self, login=login).everything(server, maintenance, wanted)

    def everything(self, server: Cluster, maintenance: Login, wanted: Sequence[Listed]) -> None:
        if self.request.globals:
            self._globals(server, maintenance)
        self._settings(rehearse=True)
        if self._form == artefact.PLAIN:
            with self.stored.proven(self._part) as proven:
                script.run(self.psql, self.login.hasty, proven)
        else:
            self._from_archive(server, wanted)
        self.progress.part_done(self._part.name)
        self._analyze()
        self._settings()

    def _from_archive(self, server: Cluster, wanted: Sequence[Listed]) -> None:
        pg_restore = self._pg_restore(server, self.login.hasty)
        with self._at_hand(workers=self.request.workers) as at_hand:
            chosen = ""
            if wanted:
                listed = pg_restore.contents(at_hand)
                chosen = contents.with_rows_of(listed, {table.oid for table in wanted})
            pg_restore.restore(at_hand, self._rights(), contents=chosen)

    def _rows_only(self, server: Cluster, wanted: Sequence[Listed]) -> None:
        """Into tables that stand already, with their constraints: all rows or none."""
        if self.request.overwrite:
            raise Unsupported(
                "cannot replace rows: a backup of engine tools only adds them",
                hint="empty the tables first, or restore into a new database",
            )
        self._require_empty(wanted or artefact.tables_in(self._part))
        pg_restore = self._pg_restore(server, self.login)
        # One transaction is one session, whatever the number of workers.
        with self._at_hand(workers=1) as at_hand:
            options = ["--single-transaction", "--data-only"]
            if not self.request.triggers:
                options.append("--disable-triggers")
            chosen = ""
            if wanted:
                listed = pg_restore.contents(at_hand)
                chosen = contents.only_rows_of(listed, {table.oid for table in wanted})
            pg_restore.restore(at_hand, options, contents=chosen)
        self.progress.part_done(self._part.name)

    @contextmanager
    def _at_hand(self, *, workers: int) -> Iterator[Artefact]:
        part = self._part
        with (
            self.stored.proven(part) as proven,
            spool.at_hand(proven, size_bytes=part.plain_bytes, workers=workers) as at_hand,
        ):
            log.info("pg_restore reads the dump", workers=at_hand.workers, reason=at_hand.reason)
            yield at_hand

    def _refuse_what_plain_sql_cannot(self) -> None:
        request = self.request
        for asked, what in (
            (bool(request.tables), "single tables"),
            (request.data_only, "rows alone"),
            (not request.owners, "everything but owners"),
            (not request.privileges, "everything but privileges"),
        ):
            if asked and self._form == artefact.PLAIN:
                raise Unsupported(
                    f"cannot restore {what} from '{self._part.name}': a dump in plain SQL comes"
                    " back whole",
                    hint="restore all of it into a new database, and copy from there",
                )

    def _require_empty(self, tables: Sequence[Listed]) -> None:
        with self.login.session() as connection:
            for table in tables:
                if _has_rows(connection, table, self.login.database):
                    raise TargetNotEmpty(
                        f"cannot restore table '{table.relation}' into database"
                        f" '{self.login.database}': it holds rows",
                        hint="empty it first, or restore into a new database",
                    )

    def _globals(self, server: Cluster, maintenance: Login) -> None:
        roles, tablespaces = server.existing_roles(), server.existing_tablespaces()
        for part in selection.of_kind(self.request.parts, PartKind.GLOBALS):
            with self.stored.proven(part) as proven:
                missing = partial(statements.without_existing, roles=roles, tablespaces=tablespaces)
                script.run(self.psql, maintenance, proven.rewritten(missing))
            self.progress.part_done(part.name)

    def _settings(self, *, rehearse: bool = False) -> None:
        """What runs last must not be the first to say, hours later, that a role is missing."""
        for part in selection.of_kind(self.request.parts, PartKind.GRANTS):
            permitted = partial(
                statements.without_rights,
                owners=self.request.owners,
                privileges=self.request.privileges,
            )
            with self.stored.proven(part) as proven:
                text = proven.rewritten(permitted)
                script.run(self.psql, self.login, text, rehearse=rehearse)
            if not rehearse:
                self.progress.part_done(part.name)

    def _analyze(self) -> None:
        """Its commit is durable, and with it all those before it."""
        with self.login.session() as connection:
            try:
                connection.execute("ANALYZE")
                connection.execute("SELECT pg_current_xact_id()")
            except psycopg.Error as error:
                subject = f"statistics of database '{self.login.database}'"
                raise failures.restoring(failures.said(error), subject) from error

    def _pg_restore(self, server: Cluster, login: Login) -> PgRestore:
        """Not older than the server, nor than the pg_dump whose format it has to read."""
        made_by = int(self._part.details[artefact.PG_DUMP_MAJOR])
        major, version = max((made_by, str(made_by)), (server.major, server.version))
        tool = tools.find("pg_restore", major, version, self.tool_folders)
        return PgRestore(tool=tool, login=login)

    def _rights(self) -> list[str]:
        options = []
        if not self.request.owners:
            options.append("--no-owner")
        if not self.request.privileges:
            options.append("--no-privileges")
        return options

    @property
    def _part(self) -> Part:
        (part,) = selection.of_kind(self.request.parts, PartKind.ARCHIVE)
        return part

    @property
    def _form(self) -> str:
        return self._part.details[artefact.FORMAT]


def _wanted(part: Part, request: RestoreRequest) -> list[Listed]:
    """The tables that were asked for, by their own name or that of one above them."""
    listed = artefact.tables_in(part)
    wanted: dict[int, Listed] = {}
    for asked in request.tables:
        meant = {each for table in listed for each in table.relations if _is_called(each, asked)}
        if len(meant) != 1:
            problem = "several tables are called that" if meant else "the backup has no rows of it"
            raise RestoreFailed(
                f"cannot restore table '{str(asked).removeprefix('.')}': {problem}",
                hint="see the tables with: pg_restore --list",
            )
        wanted |= {each.oid: each for each in listed if meant.intersection(each.relations)}
    return list(wanted.values())


def _is_called(relation: Relation, asked: Relation) -> bool:
    """Who asks may not know where the schema ends, or whether there is only one such name."""
    return str(relation) == str(asked) or (not asked.schema and relation.name == asked.name)


def _has_rows(connection: psycopg.Connection, table: Listed, database: str) -> bool:
    statement = f"SELECT FROM ONLY {qualified(table.relation)} LIMIT 1"  # quoted name
    try:
        return connection.execute(statement.encode()).fetchone() is not None
    except psycopg.Error as error:
        if error.sqlstate in UNDEFINED:
            raise TargetNotEmpty(
                f"cannot restore into database '{database}': it has no table '{table.relation}'",
                hint="restore into a new database, or create the table there first",
            ) from error
        raise failures.restoring(failures.said(error), f"table '{table.relation}'") from error
