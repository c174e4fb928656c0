"""Connection settings of a login, with the password kept apart."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field, replace

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from holdfast.model.errors import ConfigInvalid
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.sql_text import literal

# Without these a vanished server is noticed after two hours, or never.
PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
}
# Our sessions must survive long idle times, must ignore the settings of the role and database,
# and must print values the same way in every locale. 0 disables each timeout.
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
    # With ten thousand tables the planner compiles catalog queries, which take 3 s instead of 0.6.
    "jit": "off",
    "client_min_messages": "warning",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    # These would change loaded values or definitions.
    "array_nulls": "on",
    "transform_null_equals": "off",
    "xmlbinary": "base64",
    "check_function_bodies": "off",
    "default_tablespace": "",
    "temp_tablespaces": "",
    "default_table_access_method": "heap",
    "lc_numeric": "C",
    "lc_time": "C",
    # These would end a session at its first error, or return only some of the rows.
    "exit_on_error": "off",
    "gin_fuzzy_search_limit": "0",
    "client_connection_check_interval": "0",
    # These would prevent definitions from being created, or views from being read for them.
    "restrict_nonsystem_relation_kind": "",
    "icu_validation_level": "warning",
    # This would make ANALYZE sleep between pages.
    "vacuum_cost_delay": "0",
    # Only a superuser may set these, so only a superuser can have changed them.
    "session_replication_role": "origin",
    "lc_messages": "C",
    "temp_file_limit": "-1",
    # A damaged page must raise an error, not be read as empty or as correct.
    "zero_damaged_pages": "off",
    "ignore_checksum_failure": "off",
    "allow_system_table_mods": "off",
}
# Sent with the connection request: these could end a session before its first statement, and
# client programs get no other settings. Every server since 14 has them, every login may set them.
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
# Every lock wait is limited: an ALTER TABLE queues behind our snapshot, and we would queue behind
# it, which no deadlock detector sees.
LOCK_WAIT_SECONDS = 60
# The databases to log in to for creating or listing databases.
MAINTENANCE = ("postgres", "template1")
CANCEL_SECONDS = 5.0
REFUSES_OPTIONS = "the server, or a pooler in front of it, refuses startup options"
ANOTHER_ROLE = "the database sets another role for every session"
_OPTIONS_REFUSED = re.compile(r"unsupported startup (?:parameter|option).*", re.IGNORECASE)
_SET = """
SELECT wanted.name, pg_catalog.set_config(wanted.name, wanted.value, false)
FROM (VALUES {pairs}) AS wanted (name, value) WHERE {known}
"""
_IS_KNOWN = """EXISTS (
    SELECT FROM pg_catalog.pg_settings s WHERE pg_catalog.lower(s.name) = wanted.name
    AND (s.context = 'user' OR pg_catalog.current_setting('is_superuser')::bool))
"""
# Finds a role that the database, not the login's own settings, makes its sessions act as.
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
    """Connection settings; the password never appears in a repr, message or argument list."""

    settings: dict[str, str]
    password: str | None = field(default=None, repr=False)
    lock_wait_seconds: int = LOCK_WAIT_SECONDS
    kept_in: str = "the job's password_file"
    waits_for_disk: bool = True
    learnt: set[str] = field(default_factory=set, repr=False, compare=False)
    """What earlier sessions learnt about the server; all copies of a login share this set."""

    @staticmethod
    def parse(
        dsn: str,
        *,
        password: str | None,
        application_name: str,
        lock_wait_seconds: int = LOCK_WAIT_SECONDS,
    ) -> Login:
        """Read a libpq connection string or URI; a password inside it is kept apart.

        Raises `ConfigInvalid`.
        """
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
        """Commits without waiting for the disk: a crash leaves an incomplete database anyway."""
        return replace(self, waits_for_disk=False)

    @property
    def patient(self) -> Login:
        """Waits for locks without limit: for databases in which only our own sessions hold any."""
        return replace(self, lock_wait_seconds=0)

    @property
    def database(self) -> str:
        """The database; as in libpq, its name defaults to the user's name."""
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
        """Connection string for argument lists: everything but the password."""
        return make_conninfo(**self.settings)

    def steady_conninfo(self) -> str:
        """`conninfo`, with settings that no database or role can override.

        Behind a pooler that refuses such settings they are left out: statements set them as well.
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
        """Environment of child processes: the password, and untranslated messages, for parsing."""
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
        lock_timeout = {"lock_timeout": f"{self.lock_wait_seconds}s"}
        wanted = SESSION_SETTINGS | lock_timeout | self._own_settings
        # One message: a backup opens a session for each worker before it reads a row.
        steps = [_ROLE_OF_DATABASE, self._setting(wanted, connection)]
        if connection.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
            # The inherited timeout may be too short for the statements below; older servers do not
            # know it.
            steps.insert(0, "SET transaction_timeout = 0")
        answers = connection.execute(";".join(steps).encode())
        *_, other_roles, _ = [each.rowcount for each in answers.results()]
        self._learn(wanted, connection, found=[name for name, _ in answers])
        # A role in the operator's own options is kept. One that the database sets is undone: only
        # the login's own role may set all of these.
        if other_roles and "role" not in self.settings.get("options", ""):
            self.learnt.add(ANOTHER_ROLE)
            connection.execute("SET ROLE NONE")
            connection.execute(self._setting(wanted, connection).encode())

    def _setting(self, wanted: Mapping[str, str], connection: psycopg.Connection) -> str:
        """A statement that sets all of them but those that the server does not let us set.

        The first session asks which these are, which takes the server 4 ms. A superuser may set
        more than others, and the server says of each session whether it has such a role.
        """
        role = _role_of(connection)
        is_asked = all(f"{role} asked to set {name}" in self.learnt for name in wanted)
        names = [name for name in wanted if f"{role} may set {name}" in self.learnt]
        pairs = [
            f"({literal(name)}, {literal(wanted[name])})"
            for name in (names if is_asked else wanted)
        ]
        return _SET.format(pairs=", ".join(pairs), known="true" if is_asked else _IS_KNOWN)

    def _learn(
        self, wanted: Mapping[str, str], connection: psycopg.Connection, *, found: Sequence[str]
    ) -> None:
        role = _role_of(connection)
        self.learnt.update(f"{role} may set {name}" for name in found)
        self.learnt.update(f"{role} asked to set {name}" for name in wanted)

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
    """Cancel the running statement, then close the connection.

    Without the cancel the server process would go on waiting for a lock or a checkpoint.
    """
    if connection.info.transaction_status == TransactionStatus.ACTIVE:
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=CANCEL_SECONDS)
    connection.close()


def _role_of(connection: psycopg.Connection) -> str:
    is_superuser = connection.info.parameter_status("is_superuser") == "on"
    return "a superuser" if is_superuser else "a user"


def _escaped(value: str) -> str:
    """Escape `value` as one word of the connection parameter `options`."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _system_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
