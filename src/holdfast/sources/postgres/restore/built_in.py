"""Restore of a backup by the built-in engine: definitions by statements, rows by COPY.

The constraints and indexes of a table come after its rows, everything else after all rows. So the
order of tables does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set as AbstractSet
from contextlib import contextmanager

from holdfast.model.backup import Part, PartKind, Relation
from holdfast.model.part_details import CopiedRows
from holdfast.model.restore import Restored
from holdfast.ports.target import Way
from holdfast.sources.postgres.restore import (
    existing_tables,
    final_checks,
    load,
    other_tables,
    rows,
    selection,
    table_graph,
)
from holdfast.sources.postgres.restore.definition_parts import Builders
from holdfast.sources.postgres.restore.existing_tables import ExistingTables
from holdfast.sources.postgres.restore.final_checks import ContentCheck
from holdfast.sources.postgres.restore.load import Loader, Unloaded
from holdfast.sources.postgres.restore.long_values import LargeObjects
from holdfast.sources.postgres.restore.rows import Piece, RowsIn
from holdfast.sources.postgres.restore.sequence import Brought, DatabaseRestore
from holdfast.sources.postgres.restore.steps import Work
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.table_part import TablePart


class BuiltInRestore(DatabaseRestore):
    """Counts the rows of every loaded table, and compares its checksum if the backup has one."""

    way = Way.ROWS
    way_of_rows = Way.STANDING_TABLES

    def require_possible(self) -> None:
        selection.data_parts(self.request)
        for piece in selection.pieces(selection.of_kind(self.request.parts, PartKind.DATA)):
            TablePart.of(piece)

    def bring(self, login: Login) -> Brought:
        self.definitions.carry_out_pre_data(login)
        steps = self.definitions.post_data()
        # Whatever is no index may need all rows, and is a barrier for all indexes after it.
        indexes = steps.pop(0).works if steps and steps[0].builds_indexes else ()
        unloaded = self._load(login, indexes)
        self.definitions.carry_out(PartKind.SEQUENCES, login)
        self._large_objects(login)
        self.definitions.carry_out_steps(steps, login)
        self.definitions.post_data_done()
        check = self._content_check(without={each.piece.relation for each in unloaded})
        check.run(login, workers=self.request.workers)
        check.tell(self.context.failed)
        return Brought(
            tables=check.with_found(load.counted(self.request, unloaded)),
            unloaded=tuple(each.failed for each in unloaded),
            notes=tuple(check.notes),
        )

    def bring_rows(self) -> Restored:
        check = self._content_check(whole=True)
        with self.login.session() as session:
            for _, piece in self._pieces():
                table = TablePart.of(piece)
                existing_tables.require_fillable(
                    session,
                    table.load_through or table.relation,
                    into=self.login.described,
                    may_hold_rows=self.request.options.overwrite or not table.owns_every_row,
                    hint="restore into a new database, or pass --overwrite to replace its rows",
                )
        with self._rows_in(self.login) as rows_in, self.login.session() as session:
            standing = ExistingTables(
                rows_in=rows_in,
                login=self.login,
                pieces=self._pieces(),
                replaces=self.request.options.overwrite,
                check=check,
            )
            notes = standing.run(session)
        if self.request.options.data_only and not self.request.tables:
            self.definitions.carry_out(PartKind.SEQUENCES, self.login)
            self._large_objects(self.login)
        return Restored(
            tables=check.with_found(load.counted(self.request)), notes=(*notes, *check.notes)
        )

    def _content_check(
        self, *, without: AbstractSet[Relation | None] = frozenset(), whole: bool = False
    ) -> ContentCheck:
        """The check of all loaded tables; if `whole`, only of those that hold no other rows."""
        wanted = {piece.relation for _, piece in self._pieces()} - without
        named = {relation for relation in wanted if relation is not None}
        found = final_checks.summed(self.request.parts, named)
        return ContentCheck([each for each in found if each.owns_every_row or not whole])

    @contextmanager
    def _rows_in(self, login: Login) -> Iterator[RowsIn]:
        with rows.chosen(login.connect) as inward:
            yield RowsIn(context=self.context, inward=inward)

    def _pieces(self) -> list[tuple[Part, Piece]]:
        return [
            (part, piece)
            for part in selection.data_parts(self.request)
            for piece in selection.pieces([part])
            if selection.is_wanted(piece, self.request)
        ]

    def _load(self, login: Login, indexes: Sequence[Work]) -> list[Unloaded]:
        """Load all rows and build the indexes, first those of tables that have foreign keys.

        The tables of an extension may have them.
        """
        with self._rows_in(login) as rows_in:
            before = self._bound_already(login)
            tables = frozenset(piece.relation for _, piece in before if piece.relation)
            if before:
                with login.session() as session:
                    ExistingTables(
                        rows_in=rows_in,
                        login=login,
                        pieces=before,
                        replaces=True,
                        check=ContentCheck(()),
                    ).run(session)
            loader = Loader(rows_in, without=tables)
            postponed = table_graph.carry_out(
                login,
                loader,
                Builders(self.definitions),
                request=self.request,
                works=indexes,
            )
            unloaded = self._tried_again_rows(login, rows_in, loader)
        self.definitions.carry_out_works(postponed, login)
        return unloaded

    def _tried_again_rows(self, login: Login, rows_in: RowsIn, loader: Loader) -> list[Unloaded]:
        if not loader.unloaded:
            return []
        path = self.definitions.usual_path()
        with login.session() as session:
            return load.tried_again(session, rows_in, loader.unloaded, path=path)

    def _bound_already(self, login: Login) -> list[tuple[Part, Piece]]:
        with login.session() as session:
            keys = other_tables.of_database(session)
        bound = {relation for key in keys for relation in key.tables | key.others}
        return [(part, piece) for part, piece in self._pieces() if piece.relation in bound]

    def _large_objects(self, login: Login) -> None:
        """Create the large objects, then load their content in parallel."""
        parts = selection.of_kind(self.request.parts, PartKind.LARGE_OBJECTS)
        for part in parts:
            if not isinstance(part.details, CopiedRows):
                self.definitions.carry_out_part(part, login)
        held = [part for part in parts if isinstance(part.details, CopiedRows)]
        held += [
            part
            for part in selection.of_kind(self.request.parts, PartKind.BLOBS)
            if part.relation is None
        ]
        LargeObjects(context=self.context).load(held, login)
