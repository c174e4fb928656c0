"""Restores the output of pg_dump: by pg_restore, by psql, or statement by statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from holdfast.model.backup import Part, PartKind, Relation
from holdfast.model.errors import RestoreFailed, VerifyFailed
from holdfast.model.restore import FailedObject, Proven, Restored
from holdfast.ports.target import Way
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
from holdfast.sources.postgres.restore.existing_tables import require_fillable
from holdfast.sources.postgres.restore.sequence import Brought, DatabaseRestore
from holdfast.sources.postgres.server import client_programs, sql_text
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import Statement

# With several workers pg_restore creates post-data objects that need no table while it loads rows.
# A domain's NOT VALID constraint would then reject rows that are older than the constraint.
_SECTIONS: tuple[tuple[str, ...], ...] = (("pre-data", "data"), ("post-data",))


class ArchiveRestore(DatabaseRestore):
    """Restores one dump; pg_dump counts no rows, so there is no count to compare.

    The proof is that every byte is the stored one and that the tool met no error.
    """

    way_of_rows = Way.ROWS_OF_DUMP

    @property
    def way(self) -> Way:
        return Way.PLAIN_DUMP if self._form == pg_dump_archive.PLAIN else Way.DUMP

    def require_possible(self) -> None:
        self._wanted()

    def bring(self, login: Login) -> Brought:
        if self._form == pg_dump_archive.PLAIN:
            unloaded = self._from_plain_sql(login)
        else:
            unloaded = self._from_archive(login)
        self.context.progress.part_done(self._part.name)
        return Brought(unloaded=unloaded)

    def bring_rows(self) -> Restored:
        wanted = self._wanted()
        self._require_empty(wanted or pg_dump_archive.tables_in(self._part))
        pg_restore = self._pg_restore(self.login)
        # One transaction needs one session, so the requested number of workers is ignored.
        with self._archive(workers=1) as archive:
            options = ["--single-transaction", "--data-only"]
            if not self.request.options.triggers:
                options.append("--disable-triggers")
            chosen = ""
            if wanted:
                listed = pg_restore.contents(archive)
                chosen = only_rows_of(listed, {table.oid for table in wanted})
            pg_restore.restore(archive, options, contents=chosen)
        self.context.progress.part_done(self._part.name)
        return Restored()

    def _from_plain_sql(self, login: Login) -> tuple[FailedObject, ...]:
        with self.context.stored.proven(self._part) as proven:
            if not self.request.options.keep_going:
                self._by_psql(proven, login)
                return ()
            with login.session() as session:
                definer = self.definitions.definer(session, PartKind.ARCHIVE)
                restore = PlainRestore(session, proven, definer)
                restore.run()
                return tuple(restore.unloaded)

    def _by_psql(self, proven: Proven, login: Login) -> None:
        try:
            client_programs.run_psql(self._program("psql", login), login, proven)
        except RestoreFailed as error:
            raise hinted(error) from error.__cause__

    def _from_archive(self, login: Login) -> tuple[FailedObject, ...]:
        pg_restore = self._pg_restore(login)
        with self._archive(workers=self.request.workers) as archive:
            chosen = ""
            if wanted := self._wanted():
                listed = pg_restore.contents(archive)
                chosen = with_rows_of(listed, {table.oid for table in wanted})
            if self.request.options.keep_going:
                return self._part_by_part(pg_restore, archive, chosen)
            for sections in _SECTIONS if archive.workers > 1 else ((),):
                options = [*self._rights(), *(f"--section={section}" for section in sections)]
                pg_restore.restore(archive, options, contents=chosen)
        return ()

    def _part_by_part(
        self, pg_restore: PgRestore, archive: DumpArchive, chosen: str
    ) -> tuple[FailedObject, ...]:
        """Run definitions as for the built-in engine, one by one; rows by pg_restore."""

        def statements_of(section: str) -> Iterator[Statement]:
            options = [f"--section={section}", *self._rights()]
            return sql_text.statements(pg_restore.script(archive, options, contents=chosen))

        self.definitions.make(statements_of("pre-data"), pg_restore.login)
        names = {table.oid: table.relation for table in pg_dump_archive.tables_in(self._part)}
        unloaded = pg_restore.rows(archive, contents=chosen, names=names)
        self.definitions.make(statements_of("post-data"), pg_restore.login)
        return unloaded

    @contextmanager
    def _archive(self, *, workers: int) -> Iterator[DumpArchive]:
        part = self._part
        with (
            self.context.stored.proven(part) as proven,
            pg_restore.readable(proven, size_bytes=part.plain_bytes, workers=workers) as archive,
        ):
            events.info("pg_restore_begun", workers=archive.workers, reason=archive.reason)
            yield archive

    def _require_empty(self, tables: Sequence[Listed]) -> None:
        with self.login.session() as session:
            for table in tables:
                require_fillable(
                    session,
                    table.relation,
                    into=self.login.described,
                    may_hold_rows=False,
                    hint="empty it first, or restore into a new database",
                )

    def _pg_restore(self, login: Login) -> PgRestore:
        """A pg_restore that is not older than the pg_dump that wrote the archive."""
        made_by = pg_dump_archive.details_of(self._part).pg_dump_major
        tool = self._program("pg_restore", login, at_least=made_by)
        return PgRestore(tool=tool, login=login)

    def _program(self, name: str, login: Login, *, at_least: int = 0) -> Tool:
        """A program that is not older than the server, nor than version `at_least`."""
        with login.session() as session:
            major = session.info.server_version // 10000
            version = session.info.parameter_status("server_version") or str(major)
        major, version = max((at_least, str(at_least)), (major, version))
        return client_programs.find(name, major, version, folders=self.tool_folders)

    def _rights(self) -> list[str]:
        request = self.request
        return [
            option
            for option, is_wanted in (
                ("--no-owner", request.options.owners),
                ("--no-privileges", request.options.privileges),
                ("--no-tablespaces", request.options.tablespaces),
            )
            if not is_wanted
        ]

    def _wanted(self) -> list[Listed]:
        """The requested tables; a partitioned table stands for its partitions.

        Raises `RestoreFailed` for a name that fits no table or several.
        """
        listed = pg_dump_archive.tables_in(self._part)
        wanted: dict[int, Listed] = {}
        for asked in self.request.tables:
            meant = {
                each for table in listed for each in table.relations if _is_called(each, asked)
            }
            if len(meant) != 1:
                problem = (
                    "several tables have that name" if meant else "the backup has no rows of it"
                )
                raise RestoreFailed(
                    f"cannot restore table '{str(asked).removeprefix('.')}': {problem}",
                    hint="see the tables with: pg_restore --list",
                )
            wanted |= {each.oid: each for each in listed if meant.intersection(each.relations)}
        return list(wanted.values())

    @property
    def _part(self) -> Part:
        found = selection.of_kind(self.request.parts, PartKind.ARCHIVE)
        if len(found) != 1:
            raise VerifyFailed(
                f"cannot trust this backup: it has {len(found)} dumps instead of one"
            )
        return found[0]

    @property
    def _form(self) -> str:
        return pg_dump_archive.details_of(self._part).format


def _is_called(relation: Relation, asked: Relation) -> bool:
    """Whether `asked` means `relation`: by schema and name, or by the name alone."""
    return str(relation) == str(asked) or (not asked.schema and relation.name == asked.name)
