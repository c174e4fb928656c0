"""One restore under way: the parts in the order that their kinds demand.

Whoever opens the parts counts their bytes; we only say which parts are done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg

from holdfast.model.backup import Part, PartKind, Relation
from holdfast.model.errors import RestoreFailed, VerifyFailed
from holdfast.model.restore import FailedObject, Restored, StoredParts
from holdfast.ports.run import Progress
from holdfast.ports.target import RestoreRequest
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.postgres.restore import (
    content_check,
    foreign_keys,
    load,
    long_values,
    post_data,
    rows,
    second_try,
    selection,
    staging_database,
)
from holdfast.sources.postgres.restore.content_check import ContentCheck
from holdfast.sources.postgres.restore.definition_parts import DefinitionParts
from holdfast.sources.postgres.restore.definitions import PREAMBLE, Definer
from holdfast.sources.postgres.restore.existing_tables import ExistingTables
from holdfast.sources.postgres.restore.load import Loader, Unloaded
from holdfast.sources.postgres.restore.post_data import Work
from holdfast.sources.postgres.restore.rows import Piece, RowsIn
from holdfast.sources.postgres.restore.session_pool import SessionPool
from holdfast.sources.postgres.server import failures, sql_text
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """What every step needs; `login` leads to the database that is filled."""

    request: RestoreRequest
    stored: StoredParts
    progress: Progress
    definitions: DefinitionParts
    failed: FailedObjects
    login: Login

    def into(self, login: Login) -> Restore:
        return replace(self, login=login)

    @property
    def _hasty(self) -> Login:
        """Nobody else is in a new database: whoever waits for a lock waits for one of us."""
        return self.login.hasty.patient

    def everything(self) -> Restored:
        """Constraints, indexes and triggers come after the rows, so no order of tables matters."""
        if not self.failed.keep_going:
            self.definitions.rehearse(PartKind.GRANTS, self._hasty)
        self.definitions.carry_out(PartKind.PRE_DATA, self._hasty)
        unloaded = self._load()
        self.definitions.carry_out(PartKind.SEQUENCES, self._hasty)
        self._large_objects()
        self._post_data()
        check = self._content_check(without={each.piece.relation for each in unloaded})
        check.run(self._hasty, workers=self.request.workers)
        check.tell(self.failed)
        restored = self.finished(tuple(each.failed for each in unloaded))
        return replace(
            restored,
            tables=check.with_found(load.counted(self.request, unloaded)),
            notes=(*check.notes, *restored.notes),
        )

    def _content_check(
        self, *, without: AbstractSet[Relation | None] = frozenset(), whole: bool = False
    ) -> ContentCheck:
        """Of all tables that are loaded; if `whole`, of those with no rows but the backup's."""
        wanted = {piece.relation for _, piece in self._pieces()} - without
        named = {relation for relation in wanted if relation is not None}
        found = content_check.summed(self.request.parts, named)
        return ContentCheck([each for each in found if each.owns_every_row or not whole])

    def finished(self, unloaded: tuple[FailedObject, ...]) -> Restored:
        """What comes last, in whatever way all else came; rows that did not come are `unloaded`."""
        with self._hasty.session() as session:
            differences = selection.differences(session, self.request)
        notes = staging_database.analyze(self._hasty, workers=self.request.workers)
        self.definitions.carry_out(PartKind.GRANTS, self._hasty)
        failed = self._again(self.failed.take())
        staging_database.make_durable(self.login)
        return Restored(
            failed=(*unloaded, *failed), preamble=PREAMBLE, notes=(*differences, *notes)
        )

    def rows_only(self) -> Restored:
        """Into tables that stand already, with whatever constraints and triggers they have."""
        check = self._content_check(whole=True)
        with self._rows_in(self.login) as rows_in, self.login.session() as session:
            standing = ExistingTables(
                rows_in=rows_in,
                login=self.login,
                progress=self.progress,
                pieces=self._pieces(),
                replaces=self.request.overwrite,
                check=check,
            )
            notes = standing.run(session)
        if self.request.data_only and not self.request.tables:
            self.definitions.carry_out(PartKind.SEQUENCES, self.login)
            self._large_objects()
        return Restored(
            tables=check.with_found(load.counted(self.request)), notes=(*notes, *check.notes)
        )

    @contextmanager
    def _rows_in(self, login: Login) -> Iterator[RowsIn]:
        with rows.chosen(login.connect) as inward:
            yield RowsIn(request=self.request, stored=self.stored, inward=inward)

    def _pieces(self) -> list[tuple[Part, Piece]]:
        return [
            (part, piece)
            for part in selection.data_parts(self.request)
            for piece in selection.pieces([part])
            if selection.is_wanted(piece, self.request)
        ]

    def _load(self) -> list[Unloaded]:
        """Whatever refers to another table already, as an extension's tables may, comes first."""
        with self._rows_in(self._hasty) as rows_in:
            before = self._bound_already()
            tables = frozenset(piece.relation for _, piece in before if piece.relation)
            if before:
                with self._hasty.session() as session:
                    ExistingTables(
                        rows_in=rows_in,
                        login=self._hasty,
                        progress=self.progress,
                        pieces=before,
                        replaces=True,
                        check=ContentCheck(()),
                    ).run(session)
            loader = Loader(self._hasty, rows_in, self.progress, without=tables)
            loader.load(selection.data_parts(self.request), workers=self.request.workers)
            if not loader.unloaded:
                return []
            with self._hasty.session() as session:
                return second_try.rows(session, self._usual_path(), rows_in, loader.unloaded)

    def _bound_already(self) -> list[tuple[Part, Piece]]:
        with self._hasty.session() as session:
            keys = foreign_keys.of_database(session)
        bound = {relation for key in keys for relation in key.tables | key.others}
        return [(part, piece) for part, piece in self._pieces() if piece.relation in bound]

    def _usual_path(self) -> str:
        with self.definitions.statements_of(PartKind.GRANTS) as found:
            return second_try.usual_path(found)

    def _again(self, failed: tuple[FailedObject, ...]) -> tuple[FailedObject, ...]:
        if not failed:
            return ()
        with self._hasty.session() as session:
            return second_try.objects(session, self._usual_path(), failed)

    def _large_objects(self) -> None:
        """First what they are, then, side by side, what they hold."""
        described: list[Part] = []
        held: list[Part] = []
        for part in selection.of_kind(self.request.parts, PartKind.LARGE_OBJECTS):
            (held if part.details.get("format") else described).append(part)
        for part in described:
            self.definitions.carry_out_part(part, self._hasty)
        held += [
            part
            for part in selection.of_kind(self.request.parts, PartKind.BLOBS)
            if part.relation is None
        ]
        held.sort(key=lambda part: part.plain_bytes, reverse=True)
        SessionPool(self._hasty, self._put_large_objects).run(held, workers=self.request.workers)

    def _put_large_objects(self, session: psycopg.Connection, part: Part) -> None:
        try:
            with self.stored.proven(part) as proven, session.transaction():
                if part.kind is PartKind.BLOBS:
                    if self.request.open_blob is None:
                        raise RestoreFailed("cannot restore large objects: no blobs are at hand")
                    long_values.put_blobs(session, proven, self.request.open_blob)
                else:
                    found = long_values.put_rows(session, proven)
                    if found != part.rows:
                        raise RestoreFailed(
                            f"cannot restore '{part.name}': {part.rows} pages were stored,"
                            f" {found} arrived"
                        )
        except (psycopg.Error, RestoreFailed, VerifyFailed, EOFError) as error:
            self._met(session, part, error)
        self.progress.part_done(part.name)

    def _met(self, session: psycopg.Connection, part: Part, error: Exception) -> None:
        ours = load.restoring(f"'{part.name}'", error)
        if isinstance(error, psycopg.Error) and failures.ends_all(error, session):
            raise ours from error
        ours.__cause__ = error
        failed = FailedObject(
            kind="large objects", name=part.name, statement="", cause=ours.message
        )
        self.failed.met(failed, ours)

    def _post_data(self) -> None:
        """A foreign key to a table without its rows could not be made."""
        filled = selection.filled_relations(self.request)
        for part in selection.of_kind(self.request.parts, PartKind.POST_DATA):
            with self.definitions.statements_of_part(part) as found:
                wanted: Iterable[Statement] = found
                if self.request.tables:
                    wanted = sql_text.without_foreign_keys(
                        found, unless=lambda table, other: {table, other} <= filled
                    )
                self.carry_out(wanted)
            self.progress.part_done(part.name)

    def carry_out(self, found: Iterable[Statement]) -> None:
        """Definitions in their order, indexes side by side."""
        with self._hasty.session() as session:
            serial = self._definer(session)
            for step in post_data.steps(found):
                if step.alone:
                    for work in step.works:
                        _do(serial, work)
                else:
                    self._side_by_side(step)

    def _side_by_side(self, step: post_data.Step) -> None:
        definers: dict[int, Definer] = {}

        def prepare(session: psycopg.Connection) -> None:
            definers[id(session)] = self._definer(session)

        def make(session: psycopg.Connection, work: Work) -> None:
            _do(definers[id(session)], work)

        crew = SessionPool(
            self._hasty,
            make,
            prepare=prepare,
            known_by=lambda work: work.number,
            needs=lambda work: work.needs,
        )
        crew.run(step.works, workers=self.request.workers)

    def _definer(self, session: psycopg.Connection) -> Definer:
        return self.definitions.definer(session, PartKind.POST_DATA)


def _do(definer: Definer, work: Work) -> None:
    definer.take_on(work.settings)
    definer.run(work.statements)
