"""One restore of an artefact of pg_dump under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from holdfast.model.backup import Part, PartKind, Relation
from holdfast.model.errors import RestoreFailed, TargetNotEmpty, Unsupported, VerifyFailed
from holdfast.model.part_details import Details
from holdfast.model.restore import FailedObject, Proven, Restored
from holdfast.ports.target import RestoreRequest
from holdfast.runtime import events
from holdfast.sources.failed_objects import hinted
from holdfast.sources.postgres.dump import pg_dump_archive, pg_restore
from holdfast.sources.postgres.dump.pg_dump_archive import Listed
from holdfast.sources.postgres.dump.pg_restore import (
    DumpArchive,
    PgRestore,
    only_rows_of,
    with_rows_of,
)
from holdfast.sources.postgres.dump.plain_sql import PlainRestore
from holdfast.sources.postgres.restore import selection
from holdfast.sources.postgres.restore.existing_tables import require_all_or_none
from holdfast.sources.postgres.restore.restore import Restore
from holdfast.sources.postgres.restore.staging_database import content, staged
from holdfast.sources.postgres.server import client_programs, failures, sql_text
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.cluster import Cluster
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import Statement, qualified

UNDEFINED = ("42P01", "3F000")
# Workers of pg_restore make what needs no table while rows are loaded: a domain's constraint that
# is NOT VALID refuses rows that were there before it.
_SECTIONS: tuple[tuple[str, ...], ...] = (("pre-data", "data"), ("post-data",))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRestore:
    """What every step needs; `steps` are those that it shares with backups of the native engine.

    pg_dump counts no rows, so nothing can be counted against: that every byte is the one that
    was stored, and that the tool met no error, is the proof.
    """

    steps: Restore
    tool_folders: Sequence[Path] = ()

    def run(self, server: Cluster, maintenance: Login, creation: Mapping[str, str]) -> Restored:
        self._refuse_what_plain_sql_cannot()
        wanted = _wanted(self._part, self._request)
        if self._request.data_only or (wanted and content(server, self._login)):
            require_all_or_none(self._request)
            self._rows_only(server, wanted)
            return Restored()
        with staged(
            server,
            self._login,
            creation,
            overwrite=self._request.overwrite,
            before=lambda: self.steps.definitions.restore_globals(server, maintenance),
        ) as login:
            return replace(self, steps=self.steps.into(login)).everything(server, wanted)

    def everything(self, server: Cluster, wanted: Sequence[Listed]) -> Restored:
        if not self._request.keep_going:
            self.steps.definitions.rehearse(PartKind.GRANTS, self._login)
        unloaded: tuple[FailedObject, ...] = ()
        if self._form == pg_dump_archive.PLAIN:
            unloaded = self._from_plain_sql(server)
        else:
            unloaded = self._from_archive(server, wanted)
        self.steps.progress.part_done(self._part.name)
        return self.steps.finished(unloaded)

    def _from_plain_sql(self, server: Cluster) -> tuple[FailedObject, ...]:
        with self.steps.stored.proven(self._part) as proven:
            if not self._request.keep_going:
                self._by_psql(server, proven)
                return ()
            with self._login.hasty.patient.session() as session:
                definer = self.steps.definitions.definer(session, PartKind.ARCHIVE)
                restore = PlainRestore(session, proven, definer)
                restore.run()
                return tuple(restore.unloaded)

    def _by_psql(self, server: Cluster, proven: Proven) -> None:
        try:
            client_programs.run_psql(self._psql(server), self._login.hasty, proven)
        except RestoreFailed as error:
            raise hinted(error) from error.__cause__

    def _from_archive(self, server: Cluster, wanted: Sequence[Listed]) -> tuple[FailedObject, ...]:
        pg_restore = self._pg_restore(server, self._login.hasty)
        with self._at_hand(workers=self._request.workers) as at_hand:
            chosen = ""
            if wanted:
                listed = pg_restore.contents(at_hand)
                chosen = with_rows_of(listed, {table.oid for table in wanted})
            if self._request.keep_going:
                return self._part_by_part(pg_restore, at_hand, chosen)
            for sections in _SECTIONS if at_hand.workers > 1 else ((),):
                options = [*self._rights(), *(f"--section={section}" for section in sections)]
                pg_restore.restore(at_hand, options, contents=chosen)
        return ()

    def _part_by_part(
        self, pg_restore: PgRestore, at_hand: DumpArchive, chosen: str
    ) -> tuple[FailedObject, ...]:
        """Definitions by ourselves, as those of the native engine; rows by pg_restore."""

        def statements_of(section: str) -> Iterator[Statement]:
            options = [f"--section={section}", *self._rights()]
            return sql_text.statements(pg_restore.script(at_hand, options, contents=chosen))

        self.steps.carry_out(statements_of("pre-data"))
        names = {table.oid: table.relation for table in pg_dump_archive.tables_in(self._part)}
        unloaded = pg_restore.rows(at_hand, contents=chosen, names=names)
        self.steps.carry_out(statements_of("post-data"))
        return unloaded

    def _rows_only(self, server: Cluster, wanted: Sequence[Listed]) -> None:
        """Into tables that stand already, with their constraints: all rows or none."""
        if self._request.overwrite:
            raise Unsupported(
                "cannot replace rows: a backup of engine tools only adds them",
                hint="empty the tables first, or restore into a new database",
            )
        self._require_empty(wanted or pg_dump_archive.tables_in(self._part))
        pg_restore = self._pg_restore(server, self._login)
        # One transaction is one session, whatever the number of workers.
        with self._at_hand(workers=1) as at_hand:
            options = ["--single-transaction", "--data-only"]
            if not self._request.triggers:
                options.append("--disable-triggers")
            chosen = ""
            if wanted:
                listed = pg_restore.contents(at_hand)
                chosen = only_rows_of(listed, {table.oid for table in wanted})
            pg_restore.restore(at_hand, options, contents=chosen)
        self.steps.progress.part_done(self._part.name)

    @contextmanager
    def _at_hand(self, *, workers: int) -> Iterator[DumpArchive]:
        part = self._part
        with (
            self.steps.stored.proven(part) as proven,
            pg_restore.at_hand(proven, size_bytes=part.plain_bytes, workers=workers) as at_hand,
        ):
            events.info("pg_restore reads the dump", workers=at_hand.workers, reason=at_hand.reason)
            yield at_hand

    def _refuse_what_plain_sql_cannot(self) -> None:
        request = self._request
        for asked, what in (
            (bool(request.tables), "single tables"),
            (request.data_only, "rows alone"),
            (not request.owners, "everything but owners"),
            (not request.privileges, "everything but privileges"),
            (not request.tablespaces, "everything but tablespaces"),
        ):
            if asked and self._form == pg_dump_archive.PLAIN:
                raise Unsupported(
                    f"cannot restore {what} from '{self._part.name}': a dump in plain SQL comes"
                    " back whole",
                    hint="restore all of it into a new database, and copy from there",
                )

    def _require_empty(self, tables: Sequence[Listed]) -> None:
        with self._login.session() as connection:
            for table in tables:
                if _has_rows(connection, table, self._login.database):
                    raise TargetNotEmpty(
                        f"cannot restore table '{table.relation}' into database"
                        f" '{self._login.database}': it holds rows",
                        hint="empty it first, or restore into a new database",
                    )

    def _psql(self, server: Cluster) -> Tool:
        return client_programs.find("psql", server.major, server.version, folders=self.tool_folders)

    def _pg_restore(self, server: Cluster, login: Login) -> PgRestore:
        """Not older than the server, nor than the pg_dump whose format it has to read."""
        made_by = Details(self._part).number(pg_dump_archive.PG_DUMP_MAJOR)
        major, version = max((made_by, str(made_by)), (server.major, server.version))
        tool = client_programs.find("pg_restore", major, version, folders=self.tool_folders)
        return PgRestore(tool=tool, login=login)

    def _rights(self) -> list[str]:
        request = self._request
        return [
            option
            for option, is_wanted in (
                ("--no-owner", request.owners),
                ("--no-privileges", request.privileges),
                ("--no-tablespaces", request.tablespaces),
            )
            if not is_wanted
        ]

    @property
    def _request(self) -> RestoreRequest:
        return self.steps.request

    @property
    def _login(self) -> Login:
        return self.steps.login

    @property
    def _part(self) -> Part:
        found = selection.of_kind(self._request.parts, PartKind.ARCHIVE)
        if len(found) != 1:
            raise VerifyFailed(f"cannot trust a backup of {len(found)} dumps: one is what it has")
        return found[0]

    @property
    def _form(self) -> str:
        return Details(self._part).word(pg_dump_archive.FORMAT, of=pg_dump_archive.SUFFIXES)


def _wanted(part: Part, request: RestoreRequest) -> list[Listed]:
    """The tables that were asked for, by their own name or that of one above them."""
    listed = pg_dump_archive.tables_in(part)
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
