"""Who may do what with a database: grants that fit any database name, and the accounts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from holdfast.sources.mysql.server import roles
from holdfast.sources.mysql.server.failures import StatementFailed
from holdfast.sources.mysql.server.names import quoted
from holdfast.sources.mysql.server.roles import Account, Membership
from holdfast.sources.mysql.server.script import Item, script
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.version import ServerVersion

GRANTEES = """
    SELECT User, Host FROM mysql.db WHERE REPLACE(REPLACE(Db, '\\\\_', '_'), '\\\\%%', '%%') = %s
    UNION SELECT User, Host FROM mysql.tables_priv WHERE Db = %s
    UNION SELECT User, Host FROM mysql.columns_priv WHERE Db = %s
    UNION SELECT User, Host FROM mysql.procs_priv WHERE Db = %s"""
# Whom MySQL lets into every database but this one (`partial_revokes`).
KEPT_OUT = """
    SELECT User, Host FROM mysql.user
    WHERE JSON_CONTAINS(user_attributes->'$.Restrictions[*].Database', JSON_QUOTE(%s))
    ORDER BY User, Host"""
# Without it an old MariaDB would make an account, with no password, out of a GRANT.
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
    """Who must exist before `grants` can be applied."""
    notes: tuple[str, ...] = ()
    """What will not come back, in words."""


def read_access(session: Session, database: str, edition: ServerVersion) -> Access:
    """Grants on `database` and below; what accounts hold server-wide is not its own."""
    found = {Account(*row) for row in session.text(GRANTEES, *[database] * 4)}
    holders = sorted(account for account in found if account.user or account.host)
    members = roles.of_roles(roles.memberships(session, edition), holders)
    everybody = sorted({*holders, *(each.member for each in members)})
    grants = {
        account: [
            text for line in _lines(session, account) if (text := relative_grant(line, database))
        ]
        for account in holders
    }
    return Access(
        grants=script(_grant_items(grants), head=GRANTS_HEAD) if any(grants.values()) else b"",
        globals=script(_account_items(session, edition, everybody, members), head=GLOBALS_HEAD)
        if everybody
        else b"",
        accounts=tuple(
            account for account, texts in grants.items() if texts and not account.is_public
        ),
        notes=kept_out(session, database, edition),
    )


def kept_out(session: Session, database: str, edition: ServerVersion) -> tuple[str, ...]:
    """A note on accounts that have rights on the whole server, and not those on this database."""
    if edition.mariadb or not session.variable("partial_revokes"):
        return ()
    found = [str(Account(*row)) for row in session.text(KEPT_OUT, database)]
    names = ", ".join(found)
    return (f"partial revokes on this database, which do not come back: of {names}",) * bool(found)


def _grant_items(grants: Mapping[Account, Sequence[str]]) -> Iterator[Item]:
    for account, texts in grants.items():
        for text in texts:
            yield _item("grant", str(account), text)


def _account_items(
    session: Session,
    edition: ServerVersion,
    everybody: Sequence[Account],
    members: Sequence[Membership],
) -> Iterator[Item]:
    """Accounts, then roles, then who holds them, then which are on by default: each needs those
    before it."""
    for account in everybody:
        if not account.role:
            yield _item("account", str(account), _created(session, account))
    for account in everybody:
        if account.role and not account.is_public:
            yield _item("role", str(account), f"CREATE ROLE IF NOT EXISTS {account}")
    for each in members:
        yield _item("membership", f"{each.role} of {each.member}", roles.granted(each))
    given = {(each.role, each.member) for each in members}
    on: dict[Account, list[Account]] = {}
    for each in roles.defaults(session, edition):
        if (each.role, each.member) in given:
            on.setdefault(each.member, []).append(each.role)
    for member, held in on.items():
        text = roles.by_default(member, held, mariadb=edition.mariadb)
        yield _item("default role", str(member), text)


def _item(kind: str, name: str, text: str) -> Item:
    return Item(kind=kind, name=name, sql=f"{text};\n".encode())


def _lines(session: Session, account: Account) -> list[str]:
    try:
        return [line for (line,) in session.text(f"SHOW GRANTS FOR {account}")]
    except StatementFailed:
        # Left over in the grant tables after its account was removed by hand.
        return []


def _created(session: Session, account: Account) -> str:
    try:
        sql = session.value(f"SHOW CREATE USER {account}")
    except StatementFailed:
        return f"-- {account} has grants but no account"
    sql = roles.without_default_role(sql)
    return sql.replace("CREATE USER ", "CREATE USER IF NOT EXISTS ", 1)


def relative_grant(line: str, database: str) -> str:
    """A line of SHOW GRANTS as said inside the database; empty where it is about another."""
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
