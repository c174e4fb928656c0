"""A restored database appears whole or not at all: it is filled under another name.

Before it takes its own it has statistics, and all of it is on the disk.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import psycopg

from holdfast.model.errors import HoldfastError, TargetNotEmpty
from holdfast.runtime.cleanup import noted_on
from holdfast.sources.postgres.restore.session_pool import SessionPool
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.cluster import Cluster, first_object
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import identifier

# The server cuts names at 63 bytes, which would make two of them one.
NAME_BYTES = 63
_SUBSCRIPTIONS = """
SELECT subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = current_database()
"""

# Biggest first. A partitioned table's own statistics are of all its partitions.
_TO_ANALYZE = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY c.relpages DESC
"""


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

    A database that exists and is empty is filled in place; one that does not exist, or is to
    be overwritten, is made beside it and takes its name at the end, so what was there before
    lives until its replacement is complete. `before` is done once all may begin.
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
    """Something that the database holds, nothing where it is empty, None where there is none."""
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
        if isinstance(error, HoldfastError) and _holds_something(server, login):
            error.hint = f"{error.hint}; database '{login.database}' is left incomplete"
        raise


def _holds_something(server: Cluster, login: Login) -> bool:
    """Where it cannot be seen, it may."""
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
    # From here on the new one is complete: whatever fails now, it is never dropped.
    try:
        server.drop(login.database)
        server.rename(unfinished, to=login.database)
    except HoldfastError as error:
        error.hint = f"{error.hint}; all that was restored stands in database '{unfinished}'"
        raise


def _unfinished(database: str) -> str:
    """Says what it is, should we be killed."""
    suffix = f"_incomplete_{secrets.token_hex(4)}"
    room = NAME_BYTES - len(suffix)
    return database.encode()[:room].decode(errors="ignore") + suffix


def _discard(server: Cluster, login: Login, error: BaseException) -> None:
    try:
        # Where they cannot be dropped, neither can the database.
        with suppress(HoldfastError, psycopg.Error):
            _forget_subscriptions(login)
        server.drop(login.database)
    except HoldfastError:
        if isinstance(error, HoldfastError):
            error.hint = f"{error.hint}; drop the incomplete database '{login.database}'"


def _forget_subscriptions(login: Login) -> None:
    """With one a database cannot be dropped; what its publisher has belongs to the original."""
    with login.session() as connection:
        for (name,) in connection.execute(_SUBSCRIPTIONS).fetchall():
            subscription = identifier(name)
            for statement in (
                f"ALTER SUBSCRIPTION {subscription} DISABLE",
                f"ALTER SUBSCRIPTION {subscription} SET (slot_name = NONE)",
                f"DROP SUBSCRIPTION {subscription}",
            ):
                connection.execute(statement.encode())


def analyze(login: Login, *, workers: int) -> tuple[str, ...]:
    """Gather all of them; of which tables there are none, and why."""
    missing: list[str] = []
    lock = threading.Lock()

    def learn(session: psycopg.Connection, table: str) -> None:
        try:
            session.execute(f"ANALYZE {table}".encode())
        except psycopg.Error as error:
            if failures.ends_all(error, session):
                raise failures.restoring(failures.said(error), f"statistics of {table}") from error
            with lock:
                missing.append(f"no statistics of table {table}: {failures.said(error)}")

    with login.session() as session:
        tables = [str(row[0]) for row in session.execute(_TO_ANALYZE)]
    SessionPool(login, learn).run(tables, workers=workers)
    return tuple(sorted(missing))


def make_durable(login: Login) -> None:
    """The last commit reaches the disk, and with it everything before it."""
    with login.session() as session:
        try:
            session.execute("SELECT pg_current_xact_id()")
        except psycopg.Error as error:
            subject = f"database '{login.database}'"
            raise failures.restoring(failures.said(error), subject) from error
