"""The parts of a backup that are SQL: proven as a whole, and carried out by statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg

from holdfast.model.backup import Part, PartKind
from holdfast.model.proven import StoredParts
from holdfast.ports.run import Progress
from holdfast.ports.target import RestoreRequest
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.postgres.restore import global_objects, selection
from holdfast.sources.postgres.restore.definitions import Definer
from holdfast.sources.postgres.server import statements
from holdfast.sources.postgres.server.cluster import Cluster
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.statements import Heading, Statement

# What a part's statements make, where no line of pg_dump says more.
_MADE_BY = {
    PartKind.SEQUENCES: "sequences",
    PartKind.LARGE_OBJECTS: "large objects",
    PartKind.GRANTS: "settings",
}
# The database that psql is connected to, in `database.sql`.
DATABASE = "DBNAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionParts:
    """Those of `request`; settings of a database are given to the one that is connected to."""

    request: RestoreRequest
    stored: StoredParts
    progress: Progress
    failed: FailedObjects

    def carry_out(self, kind: PartKind, login: Login) -> None:
        for part in selection.of_kind(self.request.parts, kind):
            self.carry_out_part(part, login)

    def carry_out_part(self, part: Part, login: Login) -> None:
        with self.statements_of_part(part) as found, login.session() as session:
            self.definer(session, part.kind).run(_for(session, part, found))
        self.progress.part_done(part.name)

    def restore_globals(self, server: Cluster, maintenance: Login) -> None:
        """Where they are wanted, what is missing of them on the server."""
        if not self.request.globals:
            return
        for part in selection.of_kind(self.request.parts, PartKind.GLOBALS):
            with self.stored.proven(part) as proven:
                global_objects.restore(
                    proven,
                    server,
                    maintenance,
                    self.failed,
                    tablespaces=self.request.tablespaces,
                )
            self.progress.part_done(part.name)

    def rehearse(self, kind: PartKind, login: Login) -> None:
        """What runs last must not be the first to say, hours later, that a role is missing."""
        for part in selection.of_kind(self.request.parts, kind):
            with (
                self.statements_of_part(part) as found,
                login.session() as session,
                session.transaction(force_rollback=True),
            ):
                self.definer(session, kind).run(_for(session, part, found))

    @contextmanager
    def statements_of(self, kind: PartKind) -> Iterator[Iterable[Statement]]:
        for part in selection.of_kind(self.request.parts, kind)[:1]:
            with self.statements_of_part(part) as found:
                yield found
            return
        yield ()

    @contextmanager
    def statements_of_part(self, part: Part) -> Iterator[Iterable[Statement]]:
        """Those that the operator wants."""
        with self.stored.proven(part) as proven:
            yield statements.permitted(
                statements.statements(proven.text()),
                owners=self.request.owners,
                privileges=self.request.privileges,
                tablespaces=self.request.tablespaces,
            )

    def definer(self, session: psycopg.Connection, kind: PartKind) -> Definer:
        unnamed = Heading(kind=_MADE_BY.get(kind, "definitions"), name=session.info.dbname)
        return Definer(session, self.failed, unnamed=unnamed)


def _for(
    session: psycopg.Connection, part: Part, found: Iterable[Statement]
) -> Iterable[Statement]:
    if part.kind is not PartKind.GRANTS:
        return found
    named = {DATABASE: session.info.dbname}
    return (replace(each, text=statements.with_variables(each.text, named)) for each in found)
