"""One restore under way: the parts in the order that their kinds demand.

Whoever opens the parts counts their bytes; we only say which parts are done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import psycopg

from holdfast.errors import RestoreFailed
from holdfast.model import Part, PartKind, Relation
from holdfast.ports import Progress, RestoreRequest
from holdfast.proven import Proven, StoredParts
from holdfast.restored import RestoredTable
from holdfast.sources.postgres_native import (
    failures,
    large_object_load,
    script,
    selection,
    statements,
    transport_in,
)
from holdfast.sources.postgres_native.cluster import Cluster
from holdfast.sources.postgres_native.crew import Crew
from holdfast.sources.postgres_native.load import Before, Loader
from holdfast.sources.postgres_native.login import Login
from holdfast.sources.postgres_native.statements import Index
from holdfast.sources.postgres_native.tools import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """What every step needs; `login` leads to the database that is filled."""

    request: RestoreRequest
    stored: StoredParts
    progress: Progress
    psql: Tool
    login: Login

    def into(self, login: Login) -> Restore:
        return replace(self, login=login)

    def everything(self, server: Cluster, maintenance: Login) -> list[RestoredTable]:
        """Constraints, indexes and triggers come after the rows, so no order of tables matters."""
        if self.request.globals:
            self._globals(server, maintenance)
        self._rehearse(PartKind.GRANTS)
        self._scripts(PartKind.PRE_DATA)
        tables = self._load(before=Before.TRUNCATE)
        self._scripts(PartKind.SEQUENCES)
        self._large_objects()
        self._post_data()
        self._analyze()
        self._scripts(PartKind.GRANTS)
        return tables

    def rows_only(self) -> list[RestoredTable]:
        """Into tables that stand already, with whatever constraints and triggers they have."""
        tables = self._load(before=Before.DELETE if self.request.overwrite else Before.NOTHING)
        if self.request.data_only and not self.request.tables:
            self._scripts(PartKind.SEQUENCES)
            self._large_objects()
        return tables

    def _load(self, *, before: Before) -> list[RestoredTable]:
        data = selection.data_parts(self.request)
        with transport_in.chosen(self.login.hasty.connect) as inward:
            loader = Loader(
                self.login.hasty, self.request, self.stored, self.progress, inward, before=before
            )
            return loader.load(data, workers=self.request.workers)

    def _scripts(self, kind: PartKind) -> None:
        for part in selection.of_kind(self.request.parts, kind):
            self._script(part)

    def _script(self, part: Part) -> None:
        with self.stored.proven(part) as proven:
            script.run(self.psql, self.login.hasty, self._permitted(proven))
        self.progress.part_done(part.name)

    def _permitted(self, proven: Proven) -> Proven:
        """The script less what the operator does not want."""
        if self.request.owners and self.request.privileges:
            return proven
        return proven.rewritten(
            partial(
                statements.without_rights,
                owners=self.request.owners,
                privileges=self.request.privileges,
            )
        )

    def _large_objects(self) -> None:
        """First what they are, then, side by side, what they hold."""
        described: list[Part] = []
        held: list[Part] = []
        for part in selection.of_kind(self.request.parts, PartKind.LARGE_OBJECTS):
            (held if part.details.get("format") else described).append(part)
        for part in described:
            self._script(part)
        held += [
            part
            for part in selection.of_kind(self.request.parts, PartKind.BLOBS)
            if part.relation is None
        ]
        held.sort(key=lambda part: part.plain_bytes, reverse=True)
        Crew(self.login.hasty, self._put_large_objects).run(held, workers=self.request.workers)

    def _put_large_objects(self, session: psycopg.Connection, part: Part) -> None:
        try:
            with self.stored.proven(part) as proven, session.transaction():
                if part.kind is PartKind.BLOBS:
                    if self.request.open_blob is None:
                        raise RestoreFailed("cannot restore large objects: no blobs are at hand")
                    large_object_load.put_blobs(session, proven, self.request.open_blob)
                else:
                    found = large_object_load.put_rows(session, proven)
                    if found != part.rows:
                        raise RestoreFailed(
                            f"cannot restore '{part.name}': {part.rows} pages were stored,"
                            f" {found} arrived"
                        )
        except psycopg.Error as error:
            raise failures.restoring(failures.said(error), f"'{part.name}'") from error
        self.progress.part_done(part.name)

    def _rehearse(self, kind: PartKind) -> None:
        """What runs last must not be the first to say, hours later, that a role is missing."""
        for part in selection.of_kind(self.request.parts, kind):
            with self.stored.proven(part) as proven:
                script.run(self.psql, self.login.hasty, self._permitted(proven), rehearse=True)

    def _globals(self, server: Cluster, maintenance: Login) -> None:
        roles, tablespaces = server.existing_roles(), server.existing_tablespaces()
        for part in selection.of_kind(self.request.parts, PartKind.GLOBALS):
            with self.stored.proven(part) as proven:
                missing = partial(statements.without_existing, roles=roles, tablespaces=tablespaces)
                script.run(self.psql, maintenance, proven.rewritten(missing))
            self.progress.part_done(part.name)

    def _post_data(self) -> None:
        """Indexes side by side, then the rest in its order.

        A foreign key to a table without its rows could not be made.
        """
        filled = selection.filled_relations(self.request)
        for part in selection.of_kind(self.request.parts, PartKind.POST_DATA):
            with self.stored.proven(part) as proven:
                self._after_rows(proven, filled)
            self.progress.part_done(part.name)

    def _after_rows(self, proven: Proven, filled: set[Relation]) -> None:
        text = proven.text()
        if self.request.tables:
            text = statements.without_foreign_keys(
                text, unless=lambda table, other: {table, other} <= filled
            )
        indexes, rest = statements.indexes_apart(text)
        Crew(self.login.hasty, _make).run(indexes, workers=self.request.workers)
        others = self._permitted(proven.rewritten(lambda _: rest))
        script.run(self.psql, self.login.hasty, others)

    def _analyze(self) -> None:
        """The last commit is durable, and with it everything before it."""
        with self.login.session() as connection:
            try:
                found = [str(row[0]) for row in connection.execute(_TO_ANALYZE)]
                Crew(self.login.hasty, _learn).run(found, workers=self.request.workers)
                connection.execute("SELECT pg_current_xact_id()")
            except psycopg.Error as error:
                subject = f"statistics of database '{self.login.database}'"
                raise failures.restoring(failures.said(error), subject) from error


# Biggest first. A partitioned table's own statistics are of all its partitions.
_TO_ANALYZE = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY c.relpages DESC
"""


def _make(session: psycopg.Connection, index: Index) -> None:
    try:
        session.execute("SELECT set_config('default_tablespace', %s, false)", [index.tablespace])
        session.execute(index.statement.encode("utf-8", errors="surrogateescape"))
    except psycopg.Error as error:
        raise failures.restoring(failures.said(error), f"index '{index.name}'") from error


def _learn(session: psycopg.Connection, table: str) -> None:
    session.execute(f"ANALYZE {table}".encode())
