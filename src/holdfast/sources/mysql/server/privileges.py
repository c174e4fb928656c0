"""Which rights a backup needs, which of them the login has, and the GRANTs for the others."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

from holdfast.model.errors import GrantMissing
from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.source import Finding
from holdfast.sources.mysql.server.session import ServerVersion, Session
from holdfast.sources.mysql.server.sql import quoted, unquoted

EVERYTHING = "ALL PRIVILEGES"
_GRANT = re.compile(
    r"GRANT (?P<rights>.+?) ON (?P<scope>\*|`(?:[^`]|``)*`)\.(?P<object>\*|`(?:[^`]|``)*`) TO ",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One right; `database` is empty where it must hold for the whole server."""

    right: str
    database: str
    why: str
    instead: tuple[str, ...] = ()
    """Rights of which any one, held server-wide, suffices instead."""

    def grant_to(self, login: str) -> str:
        scope = f"{quoted(self.database)}.*" if self.database else "*.*"
        return f"GRANT {self.right} ON {scope} TO {login}"


@dataclass(frozen=True, slots=True)
class Held:
    """One right at one scope, as SHOW GRANTS prints it; `database` may hold wildcards."""

    right: str
    database: str

    def covers(self, need: Need) -> bool:
        if self.database == "*" and self.right in need.instead:
            return True
        return self.right in (need.right, EVERYTHING) and self._reaches(need.database)

    def _reaches(self, database: str) -> bool:
        if self.database == "*":
            return True
        return bool(database) and fnmatch.fnmatchcase(database, _as_glob(self.database))


def needs(version: ServerVersion, database: str, *, locks_tables: bool = False) -> tuple[Need, ...]:
    """The minimum rights for a complete and consistent backup."""
    of_database = [
        ("SELECT", "to read the rows"),
        ("SHOW VIEW", "to read the definitions of views"),
        ("TRIGGER", "to read the definitions of triggers"),
        ("EVENT", "to read the definitions of events"),
    ]
    if locks_tables:
        of_database.append(("LOCK TABLES", "to lock tables that have no snapshot"))
    whole_server = [Need(right="RELOAD", database="", why="to give all sessions one snapshot")]
    if not version.mariadb:
        whole_server += [
            Need(right="BACKUP_ADMIN", database="", why="to block DDL during the backup"),
            Need(
                right="SHOW_ROUTINE",
                database="",
                why="to read the definitions of routines",
                instead=("SELECT",),
            ),
        ]
    return (
        *whole_server,
        *(Need(right=right, database=database, why=why) for right, why in of_database),
        Need(right="SELECT", database="mysql", why="to read routines, accounts and their grants"),
    )


def helpful(version: ServerVersion) -> tuple[Need, ...]:
    """Rights without which a backup works, but cannot see what would delay its lock."""
    monitor = "REPLICATION CLIENT"
    if version.mariadb and version.release >= (10, 5):
        monitor = "SLAVE MONITOR"
    return (
        Need(right="PROCESS", database="", why="to see long statements of other users"),
        Need(right=monitor, database="", why="to see the lag of a replica"),
    )


def held(session: Session) -> list[Held]:
    """The login's rights on whole databases; rights on single tables do not count."""
    rights = []
    for (line,) in session.text("SHOW GRANTS"):
        match = _GRANT.match(line)
        if match and match["object"] == "*":
            scope = unquoted(match["scope"])
            rights += [Held(right.strip(), scope) for right in match["rights"].split(",")]
    return rights


def missing(wanted: Sequence[Need], rights: Sequence[Held]) -> list[Need]:
    return [need for need in wanted if not any(right.covers(need) for right in rights)]


def require_grants(
    session: Session, version: ServerVersion, database: str, *, locks_tables: bool = False
) -> list[Held]:
    """Raise `GrantMissing` unless the login may read all of `database`."""
    wanted = needs(version, database, locks_tables=locks_tables)
    return require(session, wanted, f"database '{database}'")


def require(session: Session, wanted: Sequence[Need], subject: str) -> list[Held]:
    """The login's rights; raises `GrantMissing` with the GRANT statements for missing ones."""
    rights = held(session)
    lacking = missing(wanted, rights)
    if lacking:
        login = _login(session)
        reasons = ", ".join(
            f"{need.right} on {need.database or '*'} {need.why}" for need in lacking
        )
        raise GrantMissing(
            f"cannot back up {subject}: {login} lacks {reasons}",
            hint="; ".join(f"{need.grant_to(login)}" for need in lacking),
        )
    return rights


def sight(session: Session, version: ServerVersion) -> Finding:
    """Whether the login can see what would delay its lock; a problem where it cannot."""
    lacking = missing(helpful(version), held(session))
    login = _login(session)
    return Finding(
        subject="sight",
        detail="statements of other users and the lag of a replica" if not lacking else "its own",
        problem="; ".join(f"{login} lacks {need.right} {need.why}" for need in lacking),
        hint="; ".join(need.grant_to(login) for need in lacking),
    )


def _login(session: Session) -> str:
    user, _, host = session.value("SELECT CURRENT_USER()").rpartition("@")
    return f"{quoted(user)}@{quoted(host)}"


def _as_glob(pattern: str) -> str:
    """The server's pattern (`%`, `_`, escaped by `\\`) as a pattern for `fnmatch`."""
    glob = []
    for escaped, wildcard, plain in re.findall(r"\\(.)|([%_])|(.)", pattern, re.DOTALL):
        if wildcard:
            glob.append("*" if wildcard == "%" else "?")
        else:
            glob.append(
                f"[{escaped or plain}]" if (escaped or plain) in "*?[" else escaped or plain
            )
    return "".join(glob)
