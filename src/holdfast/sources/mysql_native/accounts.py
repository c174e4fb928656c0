"""Who may do what with a database: grants that fit any database name, and the accounts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.sources.mysql_native.edition import Edition
from holdfast.sources.mysql_native.failures import StatementFailed
from holdfast.sources.mysql_native.names import quoted
from holdfast.sources.mysql_native.session import Session

GRANTEES = """
    SELECT User, Host FROM mysql.db WHERE REPLACE(REPLACE(Db, '\\\\_', '_'), '\\\\%%', '%%') = %s
    UNION SELECT User, Host FROM mysql.tables_priv WHERE Db = %s
    UNION SELECT User, Host FROM mysql.columns_priv WHERE Db = %s
    UNION SELECT User, Host FROM mysql.procs_priv WHERE Db = %s"""
MARIADB_MEMBERS = "SELECT User, Host FROM mysql.roles_mapping WHERE Role = %s"
MYSQL_MEMBERS = "SELECT TO_USER, TO_HOST FROM mysql.role_edges WHERE FROM_USER = %s"
# Without it an old MariaDB would make an account, with no password, out of a GRANT.
GRANTS_HEAD = """\
SET NAMES utf8mb4;
SET SESSION sql_mode = '';
/*M! SET SESSION sql_mode = 'NO_AUTO_CREATE_USER' */;
"""


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """A user at a host; a MariaDB role has no host."""

    user: str
    host: str

    @property
    def role(self) -> bool:
        return not self.host

    def __str__(self) -> str:
        return quoted(self.user) if self.role else f"{quoted(self.user)}@{quoted(self.host)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The rights on one database, as scripts."""

    grants: bytes
    globals: bytes
    accounts: tuple[Account, ...]
    """Who must exist before `grants` can be applied."""


def read_access(session: Session, database: str, edition: Edition) -> Access:
    """Grants on `database` and below; what accounts hold server-wide is not its own."""
    granted = [Account(*row) for row in session.text(GRANTEES, *[database] * 4)]
    holders = [account for account in granted if account.user or account.host]
    members = _members(session, holders, edition)
    lines = {account: _lines(session, account) for account in [*holders, *members]}
    grants = {
        account: [text for line in lines[account] if (text := relative_grant(line, database))]
        for account in sorted(set(holders))
    }
    people = [account for account in sorted(lines) if not account.role]
    created = [_created(session, account) for account in people]
    roles = sorted({account for account in lines if account.role})
    return Access(
        grants=_script([text for texts in grants.values() for text in texts], head=GRANTS_HEAD)
        if any(grants.values())
        else b"",
        globals=_script(
            [
                *(f"CREATE ROLE IF NOT EXISTS {role}" for role in roles),
                *created,
                *(line for each in people for line in lines[each] if _membership(line, holders)),
            ],
            head="SET NAMES utf8mb4;\nSET SESSION sql_mode = '';\n",
        )
        if lines
        else b"",
        accounts=tuple(account for account, texts in grants.items() if texts),
    )


def _members(session: Session, holders: list[Account], edition: Edition) -> list[Account]:
    """Everybody who holds one of these roles, and who holds those."""
    question = MARIADB_MEMBERS if edition.mariadb else MYSQL_MEMBERS
    found: dict[Account, None] = {}
    waiting = list(holders)
    while waiting:
        holder = waiting.pop()
        if edition.mariadb and not holder.role:
            continue
        for row in session.text(question, holder.user):
            member = Account(*row)
            if member not in found and member not in holders:
                found[member] = None
                waiting.append(member)
    return list(found)


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
    return sql.replace("CREATE USER ", "CREATE USER IF NOT EXISTS ", 1)


def _membership(line: str, holders: list[Account]) -> bool:
    """`GRANT role TO user` and `SET DEFAULT ROLE role FOR user` of the roles concerned."""
    starts = [f"{verb} {holder}" for holder in holders for verb in ("GRANT", "SET DEFAULT ROLE")]
    return any(line.startswith((f"{start} TO ", f"{start} FOR ")) for start in starts)


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


def _script(statements: list[str], *, head: str) -> bytes:
    return (head + "".join(f"{statement};\n" for statement in statements)).encode()
