"""The parts of a backup that are SQL: proven as a whole, and carried out by statements.

Of roles and tablespaces, which belong to the whole server, what is missing is made and what
exists stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import psycopg

from holdfast.model.backup import Part, PartKind
from holdfast.model.restore import StoredParts
from holdfast.ports.run import Progress
from holdfast.ports.target import RestoreRequest
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.postgres.restore import definitions, selection
from holdfast.sources.postgres.restore.definitions import Definer
from holdfast.sources.postgres.server import sql_text
from holdfast.sources.postgres.server.cluster import Cluster
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import NAME, Heading, Statement, unquoted

_ROLE = re.compile(rf"(?:CREATE|ALTER|COMMENT ON) ROLE (?P<role>{NAME})")
_MEMBERSHIP = re.compile(rf"GRANT {NAME} TO (?P<role>{NAME})")
_TABLESPACE = re.compile(
    rf"(?:CREATE|ALTER|COMMENT ON) TABLESPACE (?P<name>{NAME})"
    rf"|(?:GRANT|REVOKE) .* ON TABLESPACE (?P<granted>{NAME}) "
)
# Of all roles: a line of our own, which pg_dumpall has not.
_EVERYBODY = re.compile(rf"ALTER ROLE ALL SET (?P<setting>{NAME}(?:\.{NAME})*) ")
UNNAMED = Heading(kind="roles and tablespaces", name="globals")

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
                existing = Existing(
                    roles=server.existing_roles(),
                    tablespaces=server.existing_tablespaces(),
                    settings=server.settings_of_everybody(),
                )
                found = missing(sql_text.statements(proven.text()), existing)
                self._make_globals(list(found), maintenance)
            self.progress.part_done(part.name)

    def _make_globals(self, found: Sequence[Statement], maintenance: Login) -> None:
        """Roles all or none, then tablespaces, which no transaction can hold."""
        with maintenance.session() as session:
            definer = Definer(session, self.failed, unnamed=UNNAMED)
            with nullcontext() if self.failed.keep_going else session.transaction():
                definer.run(each for each in found if not _is_of_tablespace(each))
            if self.request.tablespaces:
                definer.run(each for each in found if _is_of_tablespace(each))

    def rehearse(self, kind: PartKind, login: Login) -> None:
        """What runs last must not be the first to say, hours later, that a role is missing."""
        for part in selection.of_kind(self.request.parts, kind):
            with (
                self.statements_of_part(part) as found,
                login.session() as session,
                session.transaction(force_rollback=True),
            ):
                self.definer(session, kind).run(_for(session, part, found))

    def usual_path(self) -> str:
        """The statement that looks names up as a session of the database does."""
        for part in selection.of_kind(self.request.parts, PartKind.GRANTS)[:1]:
            with self.statements_of_part(part) as found:
                return definitions.usual_path(found)
        return definitions.usual_path(())

    @contextmanager
    def statements_of_part(self, part: Part) -> Iterator[Iterable[Statement]]:
        """Those that the operator wants."""
        with self.stored.proven(part) as proven:
            yield sql_text.permitted(
                sql_text.statements(proven.text()),
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
    return (replace(each, text=sql_text.with_variables(each.text, named)) for each in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """What the server has already."""

    roles: Collection[str]
    tablespaces: Collection[str]
    settings: Collection[str] = ()


def missing(found: Iterable[Statement], existing: Existing) -> Iterator[Statement]:
    """Each statement under the name of what it makes, less what would make or change anything
    that exists already."""
    for statement in found:
        space = _TABLESPACE.match(statement.text)
        role = _ROLE.match(statement.text) or _MEMBERSHIP.match(statement.text)
        everybody = _EVERYBODY.match(statement.text)
        if everybody is not None:
            setting = ".".join(unquoted(word) for word in everybody["setting"].split("."))
            if setting not in existing.settings:
                yield _named(statement, "setting of all roles", setting)
        elif space is not None:
            name = space["name"] or space["granted"]
            if unquoted(name) not in existing.tablespaces:
                yield _named(statement, "tablespace", name)
        elif role is None:
            yield statement
        elif unquoted(role["role"]) not in existing.roles:
            yield _named(statement, "role", role["role"])


def _named(statement: Statement, kind: str, name: str) -> Statement:
    return replace(statement, heading=Heading(kind=kind, name=unquoted(name)))


def _is_of_tablespace(statement: Statement) -> bool:
    return statement.heading is not None and statement.heading.kind == "tablespace"
