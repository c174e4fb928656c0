"""Who holds which role, and by default: from the server's own tables, as both servers keep them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from holdfast.sources.mysql.server.names import quoted
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.version import ServerVersion

# Everybody has it where there is such a thing, and nobody makes it.
PUBLIC = "PUBLIC"
MARIADB_MEMBERS = "SELECT Role, '', User, Host, Admin_option FROM mysql.roles_mapping"
MARIADB_DEFAULTS = """
    SELECT default_role, '', User, Host, '' FROM mysql.user
    WHERE COALESCE(default_role, '') <> ''"""
MYSQL_MEMBERS = """
    SELECT FROM_USER, FROM_HOST, TO_USER, TO_HOST, WITH_ADMIN_OPTION FROM mysql.role_edges"""
MYSQL_DEFAULTS = """
    SELECT DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST, USER, HOST, '' FROM mysql.default_roles"""
_ACCOUNT = r"`(?:[^`]|``)*`@`(?:[^`]|``)*`"
_DEFAULT_ROLE = re.compile(rf" DEFAULT ROLE (?P<roles>{_ACCOUNT}(?:,{_ACCOUNT})*)(?= REQUIRE )")
_CREATED = re.compile(rf"CREATE USER (?:IF NOT EXISTS )?(?P<account>{_ACCOUNT})")


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """A user at a host; a MariaDB role has no host."""

    user: str
    host: str

    @property
    def role(self) -> bool:
        return not self.host

    @property
    def is_public(self) -> bool:
        return self.role and self.user == PUBLIC

    def __str__(self) -> str:
        return quoted(self.user) if self.role else f"{quoted(self.user)}@{quoted(self.host)}"


@dataclass(frozen=True, slots=True, order=True)
class Membership:
    """`member` holds `role`, and with `is_admin` may pass it on."""

    role: Account
    member: Account
    is_admin: bool = False


def memberships(session: Session, edition: ServerVersion) -> list[Membership]:
    return _read(session, MARIADB_MEMBERS if edition.mariadb else MYSQL_MEMBERS)


def defaults(session: Session, edition: ServerVersion) -> list[Membership]:
    """Roles that are on as soon as their member logs in."""
    return _read(session, MARIADB_DEFAULTS if edition.mariadb else MYSQL_DEFAULTS)


def _read(session: Session, question: str) -> list[Membership]:
    return sorted(
        Membership(Account(role, role_host), Account(user, host), admin == "Y")
        for role, role_host, user, host, admin in session.text(question)
    )


def of_roles(found: Iterable[Membership], roles: Collection[Account]) -> list[Membership]:
    """Every membership through which somebody comes to one of `roles`, over others if need be."""
    all_of_them = list(found)
    reached = set(roles)
    while True:
        more = {each.member for each in all_of_them if each.role in reached} - reached
        if not more:
            return [each for each in all_of_them if each.role in reached]
        reached |= more


def granted(membership: Membership) -> str:
    admin = " WITH ADMIN OPTION" if membership.is_admin else ""
    return f"GRANT {membership.role} TO {membership.member}{admin}"


def by_default(member: Account, roles: Sequence[Account], *, mariadb: bool) -> str:
    """MariaDB knows one for each account, MySQL several."""
    if mariadb:
        return f"SET DEFAULT ROLE {roles[0]} FOR {member}"
    return f"ALTER USER {member} DEFAULT ROLE {', '.join(map(str, roles))}"


def without_default_role(created: str) -> str:
    """An account as it can be made before the roles that it has by default."""
    return _DEFAULT_ROLE.sub("", created, count=1)


def mended(script: str) -> str:
    """A script of accounts as it was once written, so that it can be carried out.

    It made PUBLIC, which nobody can, and accounts before the roles that they have by default.
    """
    lines, later = [], []
    for line in script.splitlines(keepends=True):
        if line == f"CREATE ROLE IF NOT EXISTS `{PUBLIC}`;\n":
            continue
        named, default = _CREATED.match(line), _DEFAULT_ROLE.search(line)
        if named and default:
            later.append(f"ALTER USER {named['account']} DEFAULT ROLE {default['roles']};\n")
            line = without_default_role(line)
        lines.append(line)
    return "".join([*lines, *later])
