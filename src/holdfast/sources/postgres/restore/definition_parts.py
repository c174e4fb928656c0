"""The SQL parts of a backup: each is proven as a whole, then run statement by statement.

Roles and tablespaces belong to the whole server: missing ones are created, existing ones stay.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import psycopg

from holdfast.model.backup import Part, PartKind
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.postgres.restore import definitions, selection, table_definitions
from holdfast.sources.postgres.restore.definitions import Definer
from holdfast.sources.postgres.restore.selection import RestoreContext
from holdfast.sources.postgres.restore.session_pool import SessionPool
from holdfast.sources.postgres.restore.staging_database import Cluster
from holdfast.sources.postgres.restore.steps import Step, Work, steps
from holdfast.sources.postgres.restore.table_definitions import Stretch
from holdfast.sources.postgres.server import sql_text
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import NAME, Heading, Statement, unquoted

_ROLE = re.compile(rf"(?:CREATE|ALTER|COMMENT ON) ROLE (?P<role>{NAME})")
_MEMBERSHIP = re.compile(rf"GRANT {NAME} TO (?P<role>{NAME})")
_TABLESPACE = re.compile(
    rf"(?:CREATE|ALTER|COMMENT ON) TABLESPACE (?P<name>{NAME})"
    rf"|(?:GRANT|REVOKE) .* ON TABLESPACE (?P<granted>{NAME}) "
)
# A setting of all roles: holdfast writes this line itself, as pg_dumpall omits it.
_EVERYBODY = re.compile(rf"ALTER ROLE ALL SET (?P<setting>{NAME}(?:\.{NAME})*) ")
UNNAMED = Heading(kind="roles and tablespaces", name="globals")

# The kind of object for statements that no comment of pg_dump names.
_MADE_BY = {
    PartKind.SEQUENCES: "sequences",
    PartKind.LARGE_OBJECTS: "large objects",
    PartKind.GRANTS: "settings",
}
# The psql variable for the connected database, used in `database.sql`.
DATABASE = "DBNAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionParts:
    """Runs the requested definitions; settings of the database apply to the connected one."""

    context: RestoreContext

    def carry_out(self, kind: PartKind, login: Login) -> None:
        for part in selection.of_kind(self.context.request.parts, kind):
            self.carry_out_part(part, login)

    def carry_out_part(self, part: Part, login: Login) -> None:
        with self.statements_of_part(part) as found, login.session() as session:
            self.definer(session, part.kind).run(_for(session, part, found))
        self.context.progress.part_done(part.name)

    def carry_out_pre_data(self, login: Login) -> None:
        """Create schemas, types, functions, tables and views; runs of tables in parallel.

        With `keep_going` all of them one by one, so that their failures are told in their order.
        """
        request = self.context.request
        if request.options.keep_going or request.workers == 1:
            self.carry_out(PartKind.PRE_DATA, login)
            return
        for part in selection.of_kind(request.parts, PartKind.PRE_DATA):
            with self.statements_of_part(part) as found, login.session() as session:
                serial = self.definer(session, part.kind)
                for stretch in table_definitions.stretches(found):
                    serial.take_on(stretch.settings)
                    serial.run(
                        self._left_of_run(stretch, login) if stretch.is_run else stretch.statements
                    )
            self.context.progress.part_done(part.name)

    def _left_of_run(self, run: Stretch, login: Login) -> list[Statement]:
        """Create a run of tables in parallel; returns what failed, in its order."""
        definers: dict[int, Definer] = {}
        left: list[Statement] = []

        def prepare(session: psycopg.Connection) -> None:
            definers[id(session)] = self.definer(session, PartKind.PRE_DATA)
            definers[id(session)].take_on(run.settings)

        pool: SessionPool[Sequence[Statement]] = SessionPool(
            login,
            lambda session, group: left.extend(definers[id(session)].attempt(group)),
            prepare=prepare,
        )
        pool.run(table_definitions.groups(run.statements), workers=self.context.request.workers)
        return sorted(left, key=lambda statement: statement.entry)

    def restore_globals(self, server: Cluster, maintenance: Login) -> None:
        """Create the roles and tablespaces that the server lacks, if `globals` is requested."""
        if not self.context.request.options.globals:
            return
        for part in selection.of_kind(self.context.request.parts, PartKind.GLOBALS):
            with self.context.stored.proven(part) as proven:
                existing = Existing(
                    roles=server.existing_roles(),
                    tablespaces=server.existing_tablespaces(),
                    settings=server.settings_of_everybody(),
                )
                found = missing(sql_text.statements(proven.text()), existing)
                self._make_globals(list(found), maintenance)
            self.context.progress.part_done(part.name)

    def _make_globals(self, found: Sequence[Statement], maintenance: Login) -> None:
        """Create the roles, all or none, then tablespaces, which no transaction can hold.

        With `keep_going` each statement succeeds or fails independently.
        """
        with maintenance.session() as session:
            definer = Definer(session, self.context.failed, unnamed=UNNAMED)
            with nullcontext() if self.context.failed.keep_going else session.transaction():
                definer.run(each for each in found if not _is_of_tablespace(each))
            if self.context.request.options.tablespaces:
                definer.run(each for each in found if _is_of_tablespace(each))

    def rehearse(self, kind: PartKind, login: Login) -> None:
        """Run the parts and roll back, so that a missing role shows now and not hours later."""
        for part in selection.of_kind(self.context.request.parts, kind):
            with (
                self.statements_of_part(part) as found,
                login.session() as session,
                session.transaction(force_rollback=True),
            ):
                self.definer(session, kind).run(_for(session, part, found))

    def usual_path(self) -> str:
        """The statement that sets the search path which sessions of the database have."""
        for part in selection.of_kind(self.context.request.parts, PartKind.GRANTS)[:1]:
            with self.statements_of_part(part) as found:
                return definitions.usual_path(found)
        return definitions.usual_path(())

    @contextmanager
    def statements_of_part(self, part: Part) -> Iterator[Iterable[Statement]]:
        """The statements of the part that the request's options allow."""
        with self.context.stored.proven(part) as proven:
            yield sql_text.permitted(
                sql_text.statements(proven.text()),
                owners=self.context.request.options.owners,
                privileges=self.context.request.options.privileges,
                tablespaces=self.context.request.options.tablespaces,
            )

    def post_data(self) -> list[Step]:
        """The steps that create constraints, indexes and triggers.

        With `tables`, foreign keys are omitted unless both tables have all of their rows: they
        could not be created.
        """
        request = self.context.request
        filled = selection.filled_relations(request)
        packs = selection.packs_of_small(request)
        sizes = selection.table_sizes(request)
        # A key in two statements would be two failures.
        large = set() if request.options.keep_going else selection.large_relations(request)
        found: list[Step] = []
        for part in selection.of_kind(request.parts, PartKind.POST_DATA):
            with self.statements_of_part(part) as all_of_part:
                wanted: Iterable[Statement] = all_of_part
                if request.tables:
                    wanted = sql_text.without_foreign_keys(
                        all_of_part, unless=lambda table, other: {table, other} <= filled
                    )
                found += steps(wanted, small=packs, large=large, sizes=sizes)
        return found

    def post_data_done(self) -> None:
        for part in selection.of_kind(self.context.request.parts, PartKind.POST_DATA):
            self.context.progress.part_done(part.name)

    def make(self, found: Iterable[Statement], login: Login) -> None:
        """Run definitions in their order, and indexes in parallel."""
        self.carry_out_steps(steps(found), login)

    def carry_out_steps(self, found: Iterable[Step], login: Login) -> None:
        with login.session() as session:
            serial = self.definer(session, PartKind.POST_DATA)
            for step in found:
                if step.alone:
                    for work in step.works:
                        work.do(serial)
                else:
                    self.carry_out_works(step.works, login)

    def carry_out_works(self, works: Sequence[Work], login: Login) -> None:
        """Do the work in parallel, as far as it needs no other work."""
        builders = Builders(self)
        pool: SessionPool[Work] = SessionPool(
            login,
            builders.do,
            prepare=builders.prepare,
            known_by=lambda work: work.number,
            needs=lambda work: work.needs,
            locks=lambda work: work.locks,
        )
        pool.run(works, workers=self.context.request.workers)

    def definer(self, session: psycopg.Connection, kind: PartKind) -> Definer:
        unnamed = Heading(kind=_MADE_BY.get(kind, "definitions"), name=session.info.dbname)
        return Definer(session, self.context.failed, unnamed=unnamed)


class Builders:
    """Does work in several sessions, each with its own settings."""

    def __init__(self, definitions: DefinitionParts) -> None:
        self._definitions = definitions
        self._definers: dict[int, Definer] = {}

    def prepare(self, session: psycopg.Connection) -> None:
        self._definers[id(session)] = self._definitions.definer(session, PartKind.POST_DATA)

    def do(self, session: psycopg.Connection, work: Work) -> None:
        work.do(self._definers[id(session)])


def _for(
    session: psycopg.Connection, part: Part, found: Iterable[Statement]
) -> Iterable[Statement]:
    if part.kind is not PartKind.GRANTS:
        return found
    named = {DATABASE: session.info.dbname}
    return (replace(each, text=sql_text.with_variables(each.text, named)) for each in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """The roles, tablespaces and settings that the server already has."""

    roles: Collection[str]
    tablespaces: Collection[str]
    settings: Collection[str] = ()


def missing(found: Iterable[Statement], existing: Existing) -> Iterator[Statement]:
    """The statements without those about existing objects, under headings of their objects."""
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
