"""Who logs in where: connection settings with the password kept apart."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from holdfast.cleanup import afterwards, on_failure
from holdfast.errors import ConfigInvalid
from holdfast.sources.postgres_native import failures

# Without these a server that vanished is noticed after two hours, or never.
PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
}
# Ours must be idle for long, must not be steered by the role's or database's own settings,
# and must print values the same way whatever the locale. 0 is "never" for every timeout.
SESSION_SETTINGS = {
    "search_path": "",
    "row_security": "off",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "synchronize_seqscans": "off",
    # Catalogs of ten thousand tables look big enough to compile a query for: 3 s where 0.6 do.
    "jit": "off",
    "client_min_messages": "warning",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    # What would make other values, or other definitions, of what is loaded.
    "array_nulls": "on",
    "transform_null_equals": "off",
    "xmlbinary": "base64",
    "check_function_bodies": "off",
    "default_tablespace": "",
    "temp_tablespaces": "",
    "default_table_access_method": "heap",
    "lc_numeric": "C",
    "lc_time": "C",
    # What would end a session at its first error, or find only some of the rows.
    "exit_on_error": "off",
    "gin_fuzzy_search_limit": "0",
    "client_connection_check_interval": "0",
    # These only a superuser may set, who alone could have set them otherwise.
    "session_replication_role": "origin",
    "lc_messages": "C",
}
# Told at the connection itself: these could end it before it is told anything, and a program of
# the server's is told nothing else. Every server since 14 has them, every login may set them.
STARTUP = (
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "default_transaction_deferrable",
    "datestyle",
    "intervalstyle",
    "timezone",
    "extra_float_digits",
    "bytea_output",
    "lc_monetary",
    "xmloption",
    "xmlbinary",
    "array_nulls",
    "transform_null_equals",
    "standard_conforming_strings",
    "check_function_bodies",
    "exit_on_error",
    "gin_fuzzy_search_limit",
    "client_connection_check_interval",
    "row_security",
)
# Nobody waits for ever behind a lock: an ALTER TABLE queues behind our snapshot, and we
# would queue behind it, which no deadlock detector sees.
LOCK_WAIT_SECONDS = 60
CANCEL_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Connection settings; the password never shows in a repr, a message or an argument list."""

    settings: dict[str, str]
    password: str | None = field(default=None, repr=False)
    lock_wait_seconds: int = LOCK_WAIT_SECONDS
    kept_in: str = "the job's password_file"

    @staticmethod
    def parse(
        dsn: str,
        *,
        password: str | None,
        application_name: str,
        lock_wait_seconds: int = LOCK_WAIT_SECONDS,
    ) -> Login:
        """Read a libpq connection string or URI; a password inside it is taken out."""
        try:
            found = {key: str(value) for key, value in conninfo_to_dict(dsn).items()}
        except psycopg.ProgrammingError as error:
            # The driver's message may repeat the string, and with it a password.
            raise ConfigInvalid(
                "cannot read the PostgreSQL connection string: it is neither key=value nor a URI",
                hint='example: "host=/run/postgresql dbname=shop user=holdfast"',
            ) from error
        inside = found.pop("password", None)
        return Login(
            settings=PATIENCE | {"application_name": application_name} | found,
            password=password if password is not None else inside,
            lock_wait_seconds=lock_wait_seconds,
        )

    def with_settings(self, **settings: str) -> Login:
        return replace(self, settings=self.settings | settings)

    def in_database(self, name: str) -> Login:
        return self.with_settings(dbname=name)

    @property
    def hasty(self) -> Login:
        """No wait for the disk at every commit: a crash leaves an incomplete database anyway."""
        options = f"{self.settings.get('options', '')} -c synchronous_commit=off"
        return self.with_settings(options=options.strip())

    @property
    def patient(self) -> Login:
        """Any wait for a lock: where all who could hold one are ours, and will be done."""
        return replace(self, lock_wait_seconds=0)

    @property
    def database(self) -> str:
        """libpq's own rule: the database is called like the user unless said otherwise."""
        return self.settings.get("dbname") or os.environ.get("PGDATABASE") or self.user

    @property
    def user(self) -> str:
        return self.settings.get("user") or os.environ.get("PGUSER") or _system_user()

    @property
    def server(self) -> str:
        host = self.settings.get("host") or os.environ.get("PGHOST") or "the local socket"
        port = self.settings.get("port")
        return f"{host}:{port}" if port else host

    def conninfo(self) -> str:
        """For argument lists: everything but the password."""
        return make_conninfo(**self.settings)

    def steady_conninfo(self) -> str:
        """The same, with settings that no database or role can overrule."""
        said = (f"-c {name}={_escaped(SESSION_SETTINGS[name])}" for name in STARTUP)
        own = self.settings.get("options", "")
        return make_conninfo(**self.settings | {"options": " ".join([*said, own]).strip()})

    def environment(self) -> dict[str, str]:
        """For child processes: the password, and messages in the language we parse."""
        found = dict(os.environ) | {"LC_ALL": "C"}
        if self.password is not None:
            found["PGPASSWORD"] = self.password
        return found

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection]:
        """One configured session in autocommit mode, closed after the block."""
        connection = self.connect()
        with afterwards(end, connection):
            yield connection

    def connect(self) -> psycopg.Connection:
        """Raises `DatabaseUnreachable`, `AccessDenied` or `GrantMissing`."""
        try:
            connection = psycopg.connect(
                self.steady_conninfo(),
                autocommit=True,
                client_encoding="UTF8",
                password=self.password,
            )
        except psycopg.Error as error:
            raise failures.connecting(error, self) from error
        with on_failure(connection.close):
            _configure(connection, lock_wait_seconds=self.lock_wait_seconds)
        return connection


def end(connection: psycopg.Connection) -> None:
    """Close it. What its server is still at is ended first: it would go on waiting for a lock or a
    checkpoint by itself."""
    if connection.info.transaction_status == TransactionStatus.ACTIVE:
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=CANCEL_SECONDS)
    connection.close()


def _configure(connection: psycopg.Connection, *, lock_wait_seconds: int) -> None:
    wanted = SESSION_SETTINGS | {"lock_timeout": f"{lock_wait_seconds}s"}
    connection.prepare_threshold = None
    # A setting that this version does not have yet has nothing to neutralise.
    connection.execute(
        "SELECT set_config(wanted.name, wanted.value, false)"
        " FROM unnest(%s::text[], %s::text[]) AS wanted (name, value)"
        " WHERE EXISTS (SELECT FROM pg_catalog.pg_settings s WHERE lower(s.name) = wanted.name"
        "   AND (s.context = 'user' OR current_setting('is_superuser')::bool))",
        [list(wanted), list(wanted.values())],
    )


def _escaped(value: str) -> str:
    """As one word of the option `options`."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _system_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
