"""The parts of a backup that are SQL: proven as a whole, and carried out by statements.

Of roles and tablespaces, which belong to the whole server, what is missing is made and what
exists stays. What comes after the rows comes in pg_dump's own order; only indexes are built side
by side. pg_dump puts what needs something behind it: an index on a materialized view comes after
the view, and that after the primary key that its GROUP BY rests on. So whatever is no index is a
barrier. Of indexes that follow one another none needs another, and yet those that call functions
need the constraints before them: what a function's body rests on no catalog knows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby

import psycopg

from holdfast.model.backup import Part, PartKind
from holdfast.sources.postgres.restore import definitions, selection
from holdfast.sources.postgres.restore.definitions import Definer, Settings, settings_before
from holdfast.sources.postgres.restore.selection import RestoreContext
from holdfast.sources.postgres.restore.session_pool import SessionPool
from holdfast.sources.postgres.restore.staging_database import Cluster
from holdfast.sources.postgres.server import sql_text
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

_CONSTRAINT = re.compile(
    rf"ALTER TABLE (?:ONLY )?(?P<table>{NAME}\.{NAME})\s+ADD CONSTRAINT {NAME} "
    r"(?P<kind>PRIMARY KEY|UNIQUE|EXCLUDE)\b"
)
_INDEX = re.compile(rf"CREATE (?:UNIQUE )?INDEX {NAME} ON (?:ONLY )?(?P<table>{NAME}\.{NAME}) ")
# Nothing but columns: no function is called.
_PLAIN = re.compile(
    rf"[^(]* USING {NAME} \([^()]*\)(?: INCLUDE \([^()]*\))?(?: NULLS NOT DISTINCT)?"
    r"(?: WITH \([^()]*\))?;$"
)
# What pg_dump says of an index right after it.
_OF_INDEX = re.compile(
    rf"ALTER INDEX {NAME}\.{NAME} ALTER COLUMN \d+ SET STATISTICS"
    rf"|ALTER TABLE (?:ONLY )?{NAME}\.{NAME} (?:CLUSTER ON|REPLICA IDENTITY USING INDEX)\b"
)
_REMARK = re.compile(r"COMMENT ON |SECURITY LABEL ")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionParts:
    """Those that are asked for; settings of a database are given to the one connected to."""

    context: RestoreContext

    def carry_out(self, kind: PartKind, login: Login) -> None:
        for part in selection.of_kind(self.context.request.parts, kind):
            self.carry_out_part(part, login)

    def carry_out_part(self, part: Part, login: Login) -> None:
        with self.statements_of_part(part) as found, login.session() as session:
            self.definer(session, part.kind).run(_for(session, part, found))
        self.context.progress.part_done(part.name)

    def restore_globals(self, server: Cluster, maintenance: Login) -> None:
        """Where they are wanted, what is missing of them on the server."""
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
        """Roles all or none, then tablespaces, which no transaction can hold."""
        with maintenance.session() as session:
            definer = Definer(session, self.context.failed, unnamed=UNNAMED)
            with nullcontext() if self.context.failed.keep_going else session.transaction():
                definer.run(each for each in found if not _is_of_tablespace(each))
            if self.context.request.options.tablespaces:
                definer.run(each for each in found if _is_of_tablespace(each))

    def rehearse(self, kind: PartKind, login: Login) -> None:
        """What runs last must not be the first to say, hours later, that a role is missing."""
        for part in selection.of_kind(self.context.request.parts, kind):
            with (
                self.statements_of_part(part) as found,
                login.session() as session,
                session.transaction(force_rollback=True),
            ):
                self.definer(session, kind).run(_for(session, part, found))

    def usual_path(self) -> str:
        """The statement that looks names up as a session of the database does."""
        for part in selection.of_kind(self.context.request.parts, PartKind.GRANTS)[:1]:
            with self.statements_of_part(part) as found:
                return definitions.usual_path(found)
        return definitions.usual_path(())

    @contextmanager
    def statements_of_part(self, part: Part) -> Iterator[Iterable[Statement]]:
        """Those that the operator wants."""
        with self.context.stored.proven(part) as proven:
            yield sql_text.permitted(
                sql_text.statements(proven.text()),
                owners=self.context.request.options.owners,
                privileges=self.context.request.options.privileges,
                tablespaces=self.context.request.options.tablespaces,
            )

    def carry_out_post_data(self, login: Login) -> None:
        """A foreign key to a table without its rows could not be made."""
        request = self.context.request
        filled = selection.filled_relations(request)
        for part in selection.of_kind(request.parts, PartKind.POST_DATA):
            with self.statements_of_part(part) as found:
                wanted: Iterable[Statement] = found
                if request.tables:
                    wanted = sql_text.without_foreign_keys(
                        found, unless=lambda table, other: {table, other} <= filled
                    )
                self.make(wanted, login)
            self.context.progress.part_done(part.name)

    def make(self, found: Iterable[Statement], login: Login) -> None:
        """Definitions in their order, indexes side by side."""
        with login.session() as session:
            serial = self.definer(session, PartKind.POST_DATA)
            for step in steps(found):
                if step.alone:
                    for work in step.works:
                        work.do(serial)
                else:
                    self._side_by_side(step, login)

    def _side_by_side(self, step: Step, login: Login) -> None:
        definers: dict[int, Definer] = {}

        def prepare(session: psycopg.Connection) -> None:
            definers[id(session)] = self.definer(session, PartKind.POST_DATA)

        pool: SessionPool[Work] = SessionPool(
            login,
            lambda session, work: work.do(definers[id(session)]),
            prepare=prepare,
            known_by=lambda work: work.number,
            needs=lambda work: work.needs,
        )
        pool.run(step.works, workers=self.context.request.workers)

    def definer(self, session: psycopg.Connection, kind: PartKind) -> Definer:
        unnamed = Heading(kind=_MADE_BY.get(kind, "definitions"), name=session.info.dbname)
        return Definer(session, self.context.failed, unnamed=unnamed)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The statements of one object, what is set for them, and which other work comes first."""

    number: int
    statements: tuple[Statement, ...]
    settings: Settings
    needs: frozenset[int] = frozenset()

    def do(self, definer: Definer) -> None:
        definer.take_on(self.settings)
        definer.run(self.statements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Work of which several may be done at once, as far as `needs` allows; `alone` in its order."""

    works: tuple[Work, ...]
    alone: bool


def steps(found: Iterable[Statement]) -> Iterator[Step]:
    """Every statement but settings, in the order in which it may be carried out."""
    indexes: list[Work] = []
    remarks: list[Work] = []
    for work in _works(found):
        if _is_index(work):
            indexes.append(work)
        elif indexes and _REMARK.match(work.statements[0].text):
            # Nothing needs a comment, so one must not keep the next index waiting.
            remarks.append(work)
        else:
            yield from _run(indexes, remarks)
            indexes, remarks = [], []
            yield Step(works=(work,), alone=True)
    yield from _run(indexes, remarks)


def _works(found: Iterable[Statement]) -> Iterator[Work]:
    # What is set in the middle of an object's statements parts them.
    made = groupby(settings_before(found), key=lambda each: (each[0].entry, each[1]))
    for number, ((_, settings), group) in enumerate(made):
        members = tuple(statement for statement, _ in group)
        yield Work(number=number, statements=members, settings=settings)


def _is_index(work: Work) -> bool:
    first, *rest = (statement.text for statement in work.statements)
    is_first = _CONSTRAINT.match(first) or _INDEX.match(first)
    return bool(is_first) and all(_OF_INDEX.match(each) for each in rest)


def _run(indexes: list[Work], remarks: list[Work]) -> Iterator[Step]:
    if indexes:
        yield Step(works=tuple(_in_order(indexes)), alone=False)
    if remarks:
        yield Step(works=tuple(remarks), alone=True)


def _in_order(indexes: list[Work]) -> Iterator[Work]:
    """Constraints one after another on each table, which they lock; then its plain indexes; and
    behind all constraints what may call functions."""
    last: dict[str, int] = {}
    every: set[int] = set()
    others: list[Work] = []
    for work in indexes:
        constraint = _CONSTRAINT.match(work.statements[0].text)
        if constraint is None or constraint["kind"] == "EXCLUDE":
            others.append(work)
            continue
        before = last.get(constraint["table"])
        yield replace(work, needs=frozenset(() if before is None else (before,)))
        last[constraint["table"]] = work.number
        every.add(work.number)
    for work in others:
        index = _INDEX.match(work.statements[0].text)
        if index and _PLAIN.match(_QUOTED.sub("x", work.statements[0].text)):
            before = last.get(index["table"])
            yield replace(work, needs=frozenset(() if before is None else (before,)))
        else:
            yield replace(work, needs=frozenset(every))
