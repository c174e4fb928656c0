"""Translates errors of the server and its tools into ours, by their codes and messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import psycopg

from holdfast.model.errors import (
    AccessDenied,
    BackupFailed,
    DatabaseUnreachable,
    GrantMissing,
    HoldfastError,
    RestoreFailed,
    SnapshotLost,
)
from holdfast.model.lazy_pattern import regex
from holdfast.runtime.process import ChildFailed
from holdfast.sources.postgres.server.sql_text import identifier

INSUFFICIENT_PRIVILEGE = "42501"
LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"
UNDEFINED_OBJECT = "42704"
DISK_FULL = "53100"
# Shutdown, crash, idle and transaction timeouts, connection exceptions.
_SESSION_GONE = regex(r"57P0[1-5]|25P0[34]|08...")

# A refused login has no result and so no SQLSTATE: only the message can be matched.
_REFUSED = regex(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|pg_hba\.conf rejects"
    r"|role .* does not exist|is not permitted to log in|password is required",
    re.IGNORECASE,
)
_NO_DATABASE = regex(r"database .* does not exist", re.IGNORECASE)
_NO_CONNECT = regex(r"permission denied for database", re.IGNORECASE)
_NO_SLOT = regex(r"too many (clients|connections)|remaining connection slots", re.IGNORECASE)
_NO_ROLE = regex(r'role ".*" does not exist')


class Place(Protocol):
    """What an error message needs to know about a login."""

    @property
    def user(self) -> str: ...

    @property
    def database(self) -> str: ...

    @property
    def server(self) -> str: ...

    @property
    def kept_in(self) -> str: ...


def one_line(text: str) -> str:
    return " ".join(text.split())


def said(error: psycopg.Error) -> str:
    """The server's message, else the driver's, on one line."""
    return one_line(error.diag.message_primary or str(error) or type(error).__name__)


def connecting(error: psycopg.Error, place: Place) -> HoldfastError:
    cause = one_line(str(error))
    message = f"cannot connect to database '{place.database}' on '{place.server}': {cause}"
    if _NO_CONNECT.search(cause):
        grant = f"GRANT CONNECT ON DATABASE {identifier(place.database)}"
        return GrantMissing(message, hint=f"{grant} TO {identifier(place.user)}")
    if _NO_DATABASE.search(cause):
        return DatabaseUnreachable(message, hint="check the name with: psql --list")
    if _REFUSED.search(cause):
        return AccessDenied(message, hint=_login_hint(cause, place))
    if _NO_SLOT.search(cause):
        return DatabaseUnreachable(
            message, hint="raise max_connections, or lower max_concurrent_processes of the job"
        )
    return DatabaseUnreachable(
        message, hint="check that the server runs and that the address is right"
    )


def _login_hint(cause: str, place: Place) -> str:
    user = place.user
    if re.search(r"peer authentication", cause, re.IGNORECASE):
        return f"run as the system user '{user}', or map yours to it in pg_ident.conf"
    if "pg_hba.conf" in cause:
        return f"allow '{user}' in pg_hba.conf and reload the server"
    if "password" in cause:
        return f"check the password of '{user}' in {place.kept_in}"
    return f"create the role: CREATE ROLE {identifier(user)} LOGIN"


def session_is_gone(error: psycopg.Error, connection: psycopg.Connection) -> bool:
    return bool(connection.closed or _SESSION_GONE.fullmatch(error.sqlstate or ""))


def ends_all(error: psycopg.Error, connection: psycopg.Connection) -> bool:
    """Whether `error` would also hit the next object: a lost session, a cancel or a full disk."""
    return session_is_gone(error, connection) or error.sqlstate in (QUERY_CANCELED, DISK_FULL)


def reading(error: psycopg.Error, subject: str, *, gone: bool, user: str = "") -> HoldfastError:
    """The error for a failed read of `subject`, such as "table 'public.shop'"."""
    message = f"cannot read {subject}: {said(error)}"
    if gone:
        return SnapshotLost(
            message, hint="the session with the snapshot ended; run the backup again"
        )
    if error.sqlstate == INSUFFICIENT_PRIVILEGE:
        role = identifier(user)
        return GrantMissing(
            message,
            hint=f"GRANT pg_read_all_data TO {role}; with row security also:"
            f" ALTER ROLE {role} BYPASSRLS",
        )
    if error.sqlstate == LOCK_NOT_AVAILABLE:
        return BackupFailed(
            message,
            hint="another session holds or waits for an exclusive lock on it; see pg_locks,"
            " and run the backup when no table is being altered",
        )
    return BackupFailed(message, hint="the server's log has the details")


@contextmanager
def translated(connection: psycopg.Connection, subject: str, *, user: str = "") -> Iterator[None]:
    """Translate what psycopg raises while `subject` is read into our errors."""
    try:
        yield
    except psycopg.Error as error:
        gone = session_is_gone(error, connection)
        raise reading(error, subject, gone=gone, user=user) from error


class LockTimedOut(BackupFailed):
    """A client program reached its lock timeout."""


def dumping(error: ChildFailed, subject: str) -> HoldfastError:
    """The error for a failed pg_dump or pg_dumpall of `subject`."""
    message = f"cannot read {subject}: {error.message}"
    said_so = error.stderr
    if "lock timeout" in said_so:
        return LockTimedOut(message, hint="pg_locks shows who holds or waits for a lock")
    if "permission denied" in said_so:
        return GrantMissing(message, hint="grant the login what the message names")
    if re.search(r"snapshot \S+ does not exist|invalid snapshot identifier", said_so):
        return SnapshotLost(
            message, hint="the session with the snapshot ended; run the backup again"
        )
    if re.search(r"terminating connection|server closed the connection", said_so):
        return SnapshotLost(message, hint="the server ended the session; run the backup again")
    return BackupFailed(message, hint="the server's log has the details")


def restoring(cause: str, subject: str) -> RestoreFailed:
    """The error for a restore that failed at `subject`."""
    return RestoreFailed(f"cannot restore {subject}: {one_line(cause)}", hint=_restore_hint(cause))


def restoring_rows(subject: str, error: Exception) -> HoldfastError:
    """The error for rows of `subject` that could not be restored; our own errors stay as is."""
    if isinstance(error, HoldfastError):
        return error
    if isinstance(error, psycopg.Error):
        return restoring(said(error), subject)
    return restoring(f"its part is cut short: {error}", subject)


def _restore_hint(cause: str) -> str:
    if _NO_ROLE.search(cause):
        return "create the role first, or pass --globals to restore the roles of the backup"
    if re.search(r'tablespace ".*" does not exist|parameter "default_tablespace"', cause):
        return "create the tablespace first, or pass --globals or --no-tablespaces"
    if re.search(r"directory \".*\" does not exist", cause):
        return "make that directory for the server's user, or pass --no-tablespaces"
    if re.search(r"extension .* is not available|could not open extension", cause):
        return "install the package that holds the extension on the target host"
    if re.search(r"unrecognized configuration parameter", cause):
        return "the target server is older than the tools that made the backup"
    if re.search(r"invalid locale name|could not create locale|locale .* not", cause):
        return "install the locale on the target host, or create the database beforehand"
    if re.search(r"invalid command \\(un)?restrict", cause):
        return "update the PostgreSQL client package on this host"
    return "the server's log has the details"
