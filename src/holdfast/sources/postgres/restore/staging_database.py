"""Creates and replaces databases of the target server: a new one appears whole or not at all.

It is filled under a temporary name, beside the database that it may replace.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql

from holdfast.model.errors import (
    DatabaseUnreachable,
    GrantMissing,
    HoldfastError,
    Reported,
    RestoreFailed,
    TargetNotEmpty,
)
from holdfast.runtime.cleanup import noted_on
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.login import MAINTENANCE, Login
from holdfast.sources.postgres.server.sql_text import identifier, literal

# Options whose value is a keyword, and those whose value is an identifier.
_WORDS, _IDENTIFIERS = {"LOCALE_PROVIDER"}, {"TABLESPACE"}
# The first version with a choice of locale providers.
KNOWS_PROVIDERS = 15

# Anything that a restore could collide with; an extension stands for its own objects.
_FIRST_OBJECT = """
WITH own AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
SELECT found FROM (
    SELECT 'relation ' || n.nspname || '.' || c.relname AS found
      FROM pg_class c JOIN own n ON n.oid = c.relnamespace
    UNION ALL
    SELECT 'function ' || n.nspname || '.' || p.proname
      FROM pg_proc p JOIN own n ON n.oid = p.pronamespace
    UNION ALL
    SELECT 'type ' || n.nspname || '.' || t.typname
      FROM pg_type t JOIN own n ON n.oid = t.typnamespace
    UNION ALL
    SELECT 'schema ' || nspname FROM own WHERE nspname <> 'public'
    UNION ALL
    SELECT 'extension ' || extname FROM pg_extension WHERE extname <> 'plpgsql'
    UNION ALL
    SELECT 'large object ' || oid FROM pg_largeobject_metadata
    UNION ALL
    SELECT 'event trigger ' || evtname FROM pg_event_trigger
    UNION ALL
    SELECT 'publication ' || pubname FROM pg_publication
    UNION ALL
    SELECT 'foreign server ' || srvname FROM pg_foreign_server
) AS anything LIMIT 1
"""
_TERMINATE = """
SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity
WHERE application_name = %s AND pid <> pg_backend_pid()
"""
# Objects that prevent DROP DATABASE, also WITH (FORCE).
_IN_THE_WAY = """
SELECT 'subscription ' || subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = %s
UNION ALL
SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts WHERE database = %s
UNION ALL
SELECT 'replication slot ' || slot_name || ' in use' FROM pg_replication_slots
WHERE database = %s AND active
"""
_OF_EVERYBODY = """
SELECT split_part(said, '=', 1) FROM pg_db_role_setting, unnest(setconfig) AS said
WHERE setdatabase = 0 AND setrole = 0
"""
TERMINATE_MILLISECONDS = 10_000

# The server cuts names at 63 bytes, which would give two databases one name.
NAME_BYTES = 63
_SUBSCRIPTIONS = """
SELECT subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = current_database()
"""


@contextmanager
def connected(login: Login, *, beside: str) -> Iterator[tuple[Cluster, Login]]:
    """Log in to the server through a database other than `beside`."""
    failed: HoldfastError | None = None
    for name in MAINTENANCE:
        if name == beside:
            continue
        try:
            connection = login.in_database(name).connect()
        except (DatabaseUnreachable, GrantMissing) as error:
            failed = error
            continue
        with connection:
            yield Cluster(connection), login.in_database(name)
        return
    raise failed or DatabaseUnreachable(f"cannot connect to '{login.server}'")


@contextmanager
def staged(
    server: Cluster,
    login: Login,
    options: Mapping[str, str],
    *,
    overwrite: bool,
    before: Callable[[], None] = lambda: None,
) -> Iterator[Login]:
    """Yield the login to an empty database, which is the target's once the block succeeds.

    An empty database is filled in place. A missing one, or one to be overwritten, is filled under
    a temporary name and renamed at the end, so the old one lives until its replacement is
    complete. `before` runs once all checks have passed.
    Raises `TargetNotEmpty`.
    """
    found = content(server, login)
    if found and not overwrite:
        raise TargetNotEmpty(
            f"cannot restore into database '{login.database}': it holds {found}",
            hint="restore into a new database, or pass --overwrite to replace this one",
        )
    if found:
        server.require_droppable(login.database)
    before()
    if found is None or found:
        with _beside(server, login, options) as unfinished:
            yield unfinished
    else:
        with _in_place(server, login):
            yield login


def content(server: Cluster, login: Login) -> str | None:
    """One object of the database; "" if it is empty, None if it does not exist."""
    if not server.exists(login.database):
        return None
    with login.session() as connection:
        return first_object(connection)


@contextmanager
def _in_place(server: Cluster, login: Login) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        with noted_on(error):
            server.end_sessions(login.settings["application_name"])
        if isinstance(error, Reported) and _holds_something(server, login):
            error.hint = f"{error.hint}; database '{login.database}' is left incomplete"
        raise


def _holds_something(server: Cluster, login: Login) -> bool:
    """Whether the database holds anything; True if that cannot be found out."""
    try:
        return bool(content(server, login))
    except (HoldfastError, psycopg.Error):
        return True


@contextmanager
def _beside(server: Cluster, login: Login, options: Mapping[str, str]) -> Iterator[Login]:
    unfinished = _unfinished(login.database)
    server.create(unfinished, options)
    try:
        yield login.in_database(unfinished)
    except BaseException as error:
        with noted_on(error):
            _discard(server, login.in_database(unfinished), error)
        raise
    # The new database is complete: even if a step below fails, it must not be dropped.
    try:
        server.drop(login.database)
        server.rename(unfinished, to=login.database)
    except Reported as error:
        error.hint = f"{error.hint}; all that was restored is in database '{unfinished}'"
        raise


def _unfinished(database: str) -> str:
    """A temporary name that says what the database is, in case the restore is killed."""
    suffix = f"_incomplete_{secrets.token_hex(4)}"
    room = NAME_BYTES - len(suffix)
    return database.encode()[:room].decode(errors="ignore") + suffix


def _discard(server: Cluster, login: Login, error: BaseException) -> None:
    try:
        # If the subscriptions cannot be dropped, the drop below fails and reports it.
        with suppress(HoldfastError, psycopg.Error):
            _forget_subscriptions(login)
        server.drop(login.database)
    except HoldfastError:
        if isinstance(error, Reported):
            error.hint = f"{error.hint}; drop the incomplete database '{login.database}'"


def _forget_subscriptions(login: Login) -> None:
    """Drop the subscriptions, which block DROP DATABASE.

    The replication slot at the publisher belongs to the original database, so it stays.
    """
    with login.session() as connection:
        for (name,) in connection.execute(_SUBSCRIPTIONS).fetchall():
            subscription = identifier(name)
            for statement in (
                f"ALTER SUBSCRIPTION {subscription} DISABLE",
                f"ALTER SUBSCRIPTION {subscription} SET (slot_name = NONE)",
                f"DROP SUBSCRIPTION {subscription}",
            ):
                connection.execute(statement.encode())


class Cluster:
    """The target's server, reached through a database other than the target."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    @property
    def major(self) -> int:
        return self._connection.info.server_version // 10000

    @property
    def version(self) -> str:
        return self._connection.info.parameter_status("server_version") or str(self.major)

    def exists(self, database: str) -> bool:
        row = self._connection.execute(
            "SELECT FROM pg_database WHERE datname = %s", [database]
        ).fetchone()
        return row is not None

    def create(self, database: str, options: Mapping[str, str]) -> None:
        """Create an empty database from template0, so that it holds no site-local objects."""
        wanted = dict(options)
        if self.major >= KNOWS_PROVIDERS:
            # Older backups, and servers without a choice, mean the C library.
            wanted.setdefault("LOCALE_PROVIDER", "libc")
        else:
            wanted.pop("LOCALE_PROVIDER", None)
        said = " ".join(f"{option} {_as_sql(option, value)}" for option, value in wanted.items())
        statement = f"CREATE DATABASE {identifier(database)} TEMPLATE template0 {said}"
        try:
            self._connection.execute(statement.encode())
        except psycopg.Error as error:
            raise failures.restoring(failures.said(error), f"database '{database}'") from error

    def require_droppable(self, database: str) -> None:
        """Raises `TargetNotEmpty` if the server would refuse to drop it; sessions do not count."""
        named = [str(row[0]) for row in self._connection.execute(_IN_THE_WAY, [database] * 3)]
        if named:
            raise TargetNotEmpty(
                f"cannot replace database '{database}': it has {', '.join(named)}",
                hint="end or drop that first, or restore into another database",
            )

    def drop(self, database: str) -> None:
        """Drop a database and its sessions: only one that the restore created, or one that the
        operator asked to replace."""
        name = sql.Identifier(database)
        if self._is_template(database):
            self._execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(name), database)
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name), database)

    def rename(self, database: str, *, to: str) -> None:
        names = sql.Identifier(database), sql.Identifier(to)
        self._execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*names), to)

    def _is_template(self, database: str) -> bool:
        row = self._connection.execute(
            "SELECT datistemplate FROM pg_database WHERE datname = %s", [database]
        ).fetchone()
        return bool(row and row[0])

    def end_sessions(self, application_name: str) -> None:
        """End the leftover sessions of a restore: a killed psql leaves its statement running."""
        # If the server is gone, so are its sessions.
        with suppress(psycopg.OperationalError):
            self._connection.execute(_TERMINATE, [TERMINATE_MILLISECONDS, application_name])

    def existing_roles(self) -> set[str]:
        return {row[0] for row in self._connection.execute("SELECT rolname::text FROM pg_roles")}

    def existing_tablespaces(self) -> set[str]:
        found = self._connection.execute("SELECT spcname::text FROM pg_tablespace")
        return {row[0] for row in found}

    def settings_of_everybody(self) -> set[str]:
        """The names of the settings that `ALTER ROLE ALL` has set on this server."""
        return {str(row[0]) for row in self._connection.execute(_OF_EVERYBODY)}

    def _execute(self, statement: sql.Composed, database: str) -> None:
        try:
            self._connection.execute(statement)
        except psycopg.Error as error:
            raise RestoreFailed(
                f"cannot replace database '{database}': {failures.said(error)}",
                hint="log in as its owner or a superuser, and end other sessions of it",
            ) from error


def first_object(connection: psycopg.Connection) -> str:
    """One object that makes a database not empty, in words; "" if it is empty."""
    row = connection.execute(_FIRST_OBJECT).fetchone()
    return str(row[0]) if row else ""


def _as_sql(option: str, value: str) -> str:
    if option in _WORDS:
        return value
    return identifier(value) if option in _IDENTIFIERS else literal(value)
