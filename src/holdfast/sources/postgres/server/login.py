"""Who logs in where: connection settings with the password kept apart."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from holdfast.model.errors import ConfigInvalid
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.sources.postgres.server import failures

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
    # What would keep definitions from being made, or views from being read for it.
    "restrict_nonsystem_relation_kind": "",
    "icu_validation_level": "warning",
    # What would make ANALYZE wait at every page.
    "vacuum_cost_delay": "0",
    # These only a superuser may set, who alone could have set them otherwise.
    "session_replication_role": "origin",
    "lc_messages": "C",
    "temp_file_limit": "-1",
    # Pages that are damaged must fail, not be read as if they were empty, or right.
    "zero_damaged_pages": "off",
    "ignore_checksum_failure": "off",
    "allow_system_table_mods": "off",
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
TRANSACTION_TIMEOUT_SINCE = 170000
# Nobody waits for ever behind a lock: an ALTER TABLE queues behind our snapshot, and we
# would queue behind it, which no deadlock detector sees.
LOCK_WAIT_SECONDS = 60
# Where one logs in to make another database, or to list them.
MAINTENANCE = ("postgres", "template1")
CANCEL_SECONDS = 5.0
REFUSES_OPTIONS = "its server, or a pooler before it, refuses options at the start"
ANOTHER_ROLE = "its database has every session act as another role"
_OPTIONS_REFUSED = re.compile(r"unsupported startup (?:parameter|option).*", re.IGNORECASE)
# What the database, and not the login's own settings, has its sessions act as.
_ROLE_OF_DATABASE = """
SELECT FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) AS said
WHERE current_user <> session_user AND said LIKE 'role=%'
  AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database
                            WHERE datname = pg_catalog.current_database()))
HAVING pg_catalog.bool_or(s.setrole = 0)
   AND NOT pg_catalog.bool_or(
       s.setrole = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Connection settings; the password never shows in a repr, a message or an argument list."""

    settings: dict[str, str]
    password: str | None = field(default=None, repr=False)
    lock_wait_seconds: int = LOCK_WAIT_SECONDS
    kept_in: str = "the job's password_file"
    waits_for_disk: bool = True
    learnt: set[str] = field(default_factory=set, repr=False, compare=False)
    """What sessions have met with, for those that come later: all copies have the same."""

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
        return replace(self, waits_for_disk=False)

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

    @property
    def described(self) -> str:
        return f"database '{self.database}' on '{self.server}'"

    def conninfo(self) -> str:
        """For argument lists: everything but the password."""
        return make_conninfo(**self.settings)

    def steady_conninfo(self) -> str:
        """The same, with settings that no database or role can overrule.

        Without them behind a pooler that refuses such: a session is told by statements, too.
        """
        if REFUSES_OPTIONS in self.learnt:
            return self.conninfo()
        said = {name: SESSION_SETTINGS[name] for name in STARTUP} | self._own_settings
        if ANOTHER_ROLE in self.learnt:
            said["role"] = "none"
        options = [f"-c {name}={_escaped(value)}" for name, value in said.items()]
        own = self.settings.get("options", "")
        return make_conninfo(**self.settings | {"options": " ".join([*options, own]).strip()})

    @property
    def _own_settings(self) -> dict[str, str]:
        return {} if self.waits_for_disk else {"synchronous_commit": "off"}

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
            connection = self._opened()
        except psycopg.Error as error:
            raise failures.connecting(error, self) from error
        with on_failure(connection.close):
            self._configure(connection)
        return connection

    def _configure(self, connection: psycopg.Connection) -> None:
        connection.prepare_threshold = None
        if connection.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
            # It may be shorter than what follows takes, and older servers refuse it.
            connection.execute("SET transaction_timeout = 0")
        # One that the operator asks for is meant; and only our own may set all that follows.
        is_asked_for = "role" in self.settings.get("options", "")
        if not is_asked_for and connection.execute(_ROLE_OF_DATABASE).fetchone() is not None:
            self.learnt.add(ANOTHER_ROLE)
            connection.execute("SET ROLE NONE")
        lock_timeout = {"lock_timeout": f"{self.lock_wait_seconds}s"}
        _set(connection, SESSION_SETTINGS | lock_timeout | self._own_settings)

    def _opened(self) -> psycopg.Connection:
        try:
            return self._open()
        except psycopg.OperationalError as error:
            if REFUSES_OPTIONS in self.learnt or not _OPTIONS_REFUSED.search(str(error)):
                raise
        self.learnt.add(REFUSES_OPTIONS)
        return self._open()

    def _open(self) -> psycopg.Connection:
        return psycopg.connect(
            self.steady_conninfo(), autocommit=True, client_encoding="UTF8", password=self.password
        )


def end(connection: psycopg.Connection) -> None:
    """Close it. What its server is still at is ended first: it would go on waiting for a lock or a
    checkpoint by itself."""
    if connection.info.transaction_status == TransactionStatus.ACTIVE:
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=CANCEL_SECONDS)
    connection.close()


def _set(connection: psycopg.Connection, wanted: Mapping[str, str]) -> None:
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
