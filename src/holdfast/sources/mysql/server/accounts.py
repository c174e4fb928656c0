"""The grants on a database, written to fit any database name, and the accounts that hold them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.mysql.server.connection import StatementFailed
from holdfast.sources.mysql.server.session import ServerVersion, Session
from holdfast.sources.mysql.server.sql import Item, quoted, script

# A role that every account has, where the server knows it; it cannot be created.
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


def memberships(session: Session, version: ServerVersion) -> list[Membership]:
    return _read(session, MARIADB_MEMBERS if version.mariadb else MYSQL_MEMBERS)


def defaults(session: Session, version: ServerVersion) -> list[Membership]:
    """Roles that are active as soon as their member logs in."""
    return _read(session, MARIADB_DEFAULTS if version.mariadb else MYSQL_DEFAULTS)


def _read(session: Session, question: str) -> list[Membership]:
    return sorted(
        Membership(Account(role, role_host), Account(user, host), admin == "Y")
        for role, role_host, user, host, admin in session.text(question)
    )


def of_roles(found: Iterable[Membership], roles: Collection[Account]) -> list[Membership]:
    """Every membership that gives an account one of `roles`, directly or through other roles."""
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
    """The statement that sets default roles: MariaDB has one per account, MySQL several."""
    if mariadb:
        return f"SET DEFAULT ROLE {roles[0]} FOR {member}"
    return f"ALTER USER {member} DEFAULT ROLE {', '.join(map(str, roles))}"


def without_default_role(created: str) -> str:
    """CREATE USER without default roles, so that the account can be created before them."""
    return _DEFAULT_ROLE.sub("", created, count=1)


def mended(script: str) -> str:
    """Repair a script of accounts that an earlier version of holdfast wrote.

    It created PUBLIC, which is impossible, and accounts before their default roles.
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


GRANTEES = """
    SELECT User, Host FROM mysql.db WHERE REPLACE(REPLACE(Db, '\\\\_', '_'), '\\\\%%', '%%') = %s
    UNION SELECT User, Host FROM mysql.tables_priv WHERE Db = %s
    UNION SELECT User, Host FROM mysql.columns_priv WHERE Db = %s
    UNION SELECT User, Host FROM mysql.procs_priv WHERE Db = %s"""
# Accounts that MySQL admits to every database but this one (`partial_revokes`).
KEPT_OUT = """
    SELECT User, Host FROM mysql.user
    WHERE JSON_CONTAINS(user_attributes->'$.Restrictions[*].Database', JSON_QUOTE(%s))
    ORDER BY User, Host"""
# Without this mode, GRANT on an old MariaDB would create an account without a password.
GRANTS_HEAD = """\
SET NAMES utf8mb4;
SET SESSION sql_mode = '';
/*M! SET SESSION sql_mode = 'NO_AUTO_CREATE_USER' */;
"""
GLOBALS_HEAD = "SET NAMES utf8mb4;\nSET SESSION sql_mode = '';\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The rights on one database, as scripts."""

    grants: bytes
    globals: bytes
    accounts: tuple[Account, ...]
    """The accounts that must exist before `grants` can be applied."""
    notes: tuple[str, ...] = ()
    """What a restore will not bring back."""


def read_access(session: Session, database: str, version: ServerVersion) -> Access:
    """The grants on `database` and its objects; server-wide rights of accounts are left out."""
    found = {Account(*row) for row in session.text(GRANTEES, *[database] * 4)}
    holders = sorted(account for account in found if account.user or account.host)
    members = of_roles(memberships(session, version), holders)
    everybody = sorted({*holders, *(each.member for each in members)})
    grants = {
        account: [
            text for line in _lines(session, account) if (text := relative_grant(line, database))
        ]
        for account in holders
    }
    return Access(
        grants=script(_grant_items(grants), head=GRANTS_HEAD) if any(grants.values()) else b"",
        globals=script(
            _account_items(session, version, accounts=everybody, members=members), head=GLOBALS_HEAD
        )
        if everybody
        else b"",
        accounts=tuple(
            account for account, texts in grants.items() if texts and not account.is_public
        ),
        notes=kept_out(session, database, version),
    )


def kept_out(session: Session, database: str, version: ServerVersion) -> tuple[str, ...]:
    """A note on accounts with server-wide rights that are revoked on this database."""
    if version.mariadb or not session.variable("partial_revokes"):
        return ()
    found = [str(Account(*row)) for row in session.text(KEPT_OUT, database)]
    names = ", ".join(found)
    return (f"partial revokes on this database are not restored: those of {names}",) * bool(found)


def _grant_items(grants: Mapping[Account, Sequence[str]]) -> Iterator[Item]:
    for account, texts in grants.items():
        for text in texts:
            yield _item("grant", str(account), text)


def _account_items(
    session: Session,
    version: ServerVersion,
    *,
    accounts: Sequence[Account],
    members: Sequence[Membership],
) -> Iterator[Item]:
    """Accounts, then roles, then memberships, then default roles: each needs those before it."""
    for account in accounts:
        if not account.role:
            yield _item("account", str(account), _created(session, account))
    for account in accounts:
        if account.role and not account.is_public:
            yield _item("role", str(account), f"CREATE ROLE IF NOT EXISTS {account}")
    for each in members:
        yield _item("membership", f"{each.role} of {each.member}", granted(each))
    given = {(each.role, each.member) for each in members}
    on: dict[Account, list[Account]] = {}
    for each in defaults(session, version):
        if (each.role, each.member) in given:
            on.setdefault(each.member, []).append(each.role)
    for member, held in on.items():
        text = by_default(member, held, mariadb=version.mariadb)
        yield _item("default role", str(member), text)


def _item(kind: str, name: str, text: str) -> Item:
    return Item(kind=kind, name=name, sql=f"{text};\n".encode())


def _lines(session: Session, account: Account) -> list[str]:
    try:
        return [line for (line,) in session.text(f"SHOW GRANTS FOR {account}")]
    except StatementFailed:
        # Its rows were left in the grant tables after the account was removed by hand.
        return []


def _created(session: Session, account: Account) -> str:
    try:
        sql = session.value(f"SHOW CREATE USER {account}")
    except StatementFailed:
        return f"-- {account} has grants but no account"
    sql = without_default_role(sql)
    return sql.replace("CREATE USER ", "CREATE USER IF NOT EXISTS ", 1)


def relative_grant(line: str, database: str) -> str:
    """A line of SHOW GRANTS without the database's name; empty where it is about another one."""
    escaped = database.replace("_", r"\_").replace("%", r"\%")
    names = "|".join(re.escape(quoted(name)) for name in dict.fromkeys((database, escaped)))
    match = re.fullmatch(
        r"(?P<what>GRANT .+?) ON (?P<kind>[A-Z ]* )?"
        rf"(?:{names})\.(?P<object>\*|`(?:[^`]|``)+`)(?P<whom> TO .+)",
        line,
        re.DOTALL,
    )
    if match is None:
        return ""
    return f"{match['what']} ON {match['kind'] or ''}{match['object']}{match['whom']}"
