"""Roles and tablespaces of the whole server: what is missing is made, what exists stays."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

from holdfast.model.proven import Proven
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.postgres.restore.definitions import Definer
from holdfast.sources.postgres.server import statements
from holdfast.sources.postgres.server.cluster import Cluster
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.statements import NAME, Heading, Statement, unquoted

_ROLE = re.compile(rf"(?:CREATE|ALTER|COMMENT ON) ROLE (?P<role>{NAME})")
_MEMBERSHIP = re.compile(rf"GRANT {NAME} TO (?P<role>{NAME})")
_TABLESPACE = re.compile(
    rf"(?:CREATE|ALTER|COMMENT ON) TABLESPACE (?P<name>{NAME})"
    rf"|(?:GRANT|REVOKE) .* ON TABLESPACE (?P<granted>{NAME}) "
)
# Of all roles: a line of our own, which pg_dumpall has not.
_EVERYBODY = re.compile(rf"ALTER ROLE ALL SET (?P<setting>{NAME}(?:\.{NAME})*) ")
UNNAMED = Heading(kind="roles and tablespaces", name="globals")


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """What the server has already."""

    roles: Collection[str]
    tablespaces: Collection[str]
    settings: Collection[str] = ()


def restore(
    proven: Proven,
    server: Cluster,
    login: Login,
    failed: FailedObjects,
    *,
    tablespaces: bool,
) -> None:
    """Roles all or none, then tablespaces, which no transaction can hold."""
    existing = Existing(
        roles=server.existing_roles(),
        tablespaces=server.existing_tablespaces(),
        settings=server.settings_of_everybody(),
    )
    found = list(missing(statements.statements(proven.text()), existing))
    with login.session() as session:
        definer = Definer(session, failed, unnamed=UNNAMED)
        with nullcontext() if failed.keep_going else session.transaction():
            definer.run(each for each in found if not _is_of_tablespace(each))
        if tablespaces:
            definer.run(each for each in found if _is_of_tablespace(each))


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
