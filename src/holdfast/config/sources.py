"""The settings of a job's `source`: the server, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from holdfast.config.secret import SecretPath, SecretSource
from holdfast.config.values import Duration, Size, Strict
from holdfast.model.checked import After, By, Length, Mistake, Range

if TYPE_CHECKING:
    from urllib.parse import SplitResult

# YAML has only lists, so accept one; it becomes a tuple, which nothing can change.
Patterns = tuple[Annotated[str, Length(at_least=1)], ...]
Method = Literal["logical", "physical"]

BLOB_BYTES = 1 << 20
# What lacks here is the extra `clusters`; the role installs it where a job needs it.
CLUSTERS_HINT = "install holdfast with its extra: pip install 'holdfast[clusters]', or deploy again"
# A restore needs the whole chain: a longer one risks losing months by one accident.
MOST_INCREMENTALS = 100
# Keys of a MySQL source that an engine does not support, with a hint.
MYSQL_KEYS_OF_OTHERS = {
    "native": (("method", "backup_as_tables"), "write engine: tools"),
    "tools": (
        (
            *("tables", "exclude_tables", "ddl", "loose_tables"),
            *("long_query", "lag_limit", "lock_wait", "lock_hold"),
        ),
        "leave it out, or use native",
    ),
}

PASSWORD_KEYS = {"password", "passwd", "pwd", "sslpassword"}
_CONNINFO_PASSWORD = re.compile(r"(?:^|\s)(?:password|sslpassword)\s*=", re.IGNORECASE)


def _without_password(dsn: str) -> str:
    if _holds_password(dsn):
        raise Mistake(
            "a dsn must not hold a password: this file and the logs would show it",
            hint="write it into a file of mode 0640 and name that in password_file",
        )
    return dsn


def _holds_password(dsn: str) -> bool:
    if "://" not in dsn:
        return bool(_CONNINFO_PASSWORD.search(dsn))
    from urllib.parse import parse_qs  # it loads slowly, and most need none

    url = _split(dsn)
    keys = {key.lower() for key in parse_qs(url.query, keep_blank_values=True)}
    return url.password is not None or bool(PASSWORD_KEYS & keys)


def mysql_url(dsn: str, *, needs_database: bool) -> str:
    """`dsn` unchanged, if it is a URL of a MySQL server; raises `Mistake` otherwise."""
    url = _split(dsn)
    is_whole = url.path.strip("/") or not needs_database
    if url.scheme not in ("mysql", "mariadb") or not is_whole:
        raise Mistake(
            "it is not a URL with a database",
            hint="mysql://holdfast@localhost/DATABASE?unix_socket=/run/mysqld/mysqld.sock",
        )
    return dsn


def _split(dsn: str) -> SplitResult:
    from urllib.parse import urlsplit

    try:
        return urlsplit(dsn)
    except ValueError as error:
        raise Mistake(f"it is not a URL: {error}") from error


Dsn = Annotated[str, Length(at_least=1), After(_without_password)]

# How a PostgreSQL server is read: engine and method.
_ROWS, _DUMPS = ("native", "logical"), ("tools", "logical")
_FILES, _STREAM = ("native", "physical"), ("tools", "physical")
# Keys of a PostgreSQL source that only some of them support.
POSTGRES_KEYS = {
    "transport": (_ROWS,),
    "chunk_size": (_ROWS,),
    "blobs": (_ROWS,),
    "blob_size": (_ROWS,),
    "databases": (_ROWS, _DUMPS),
    "exclude_databases": (_ROWS, _DUMPS),
    "session": (_ROWS, _FILES),
    "checkpoint": (_FILES, _STREAM),
    "incremental": (_STREAM,),
    "system_identifier": (_FILES, _STREAM),
}


def _require_one_password(settings: PostgresSettings | MysqlSettings) -> None:
    if settings.password is not None and settings.password_file is not None:
        raise Mistake("two passwords are named", hint="name either password or password_file")


class PostgresSettings(Strict):
    """A PostgreSQL database: `dsn` is a libpq connection string or URL.

    With `databases` the source is several databases: `all`, or names and patterns (`shop_*`), minus
    those of `exclude_databases`. The database of the dsn is then only used to list them.

    `method: physical` copies the files of the whole cluster, by our own workers or, with engine
    `tools`, as pg_basebackup streams them. `incremental` is then the largest number of incremental
    backups between two full backups. `system_identifier` names the cluster, if another one has
    replaced the cluster of the job's earlier backups.
    """

    kind: Literal["postgres"]
    engine: Literal["native", "tools"] = "native"
    method: Method = "logical"
    transport: Literal["auto", "fifo", "wire"] = "auto"
    databases: Literal["all"] | Patterns | None = None
    exclude_databases: Patterns = ()
    chunk_size: Size | None = None
    blobs: Literal["inline", "external"] = "inline"
    blob_size: Size = BLOB_BYTES
    dsn: Dsn
    password_file: SecretPath | None = None
    password: SecretSource | None = None
    session: Literal["own", "daemon"] = "own"
    checkpoint: Literal["fast", "spread"] = "fast"
    incremental: Annotated[int, Range(at_least=0, at_most=MOST_INCREMENTALS)] = 0
    system_identifier: Annotated[int, Range(at_least=1, below=1 << 64)] | None = None

    def require_sound(self) -> None:
        """Refuse a key that the chosen engine and method would silently ignore."""
        _require_one_password(self)
        for key in POSTGRES_KEYS:
            if key in self.written and not self.knows(key):
                engine, method = POSTGRES_KEYS[key][0]
                raise Mistake(
                    f"'{key}' has no effect with engine {self.engine}, method {self.method}",
                    hint=f"leave it out, or use engine {engine}, method {method}",
                )

    @property
    def held_by_daemon(self) -> bool:
        """Whether the daemon holds its sessions, so that they outlive the run that begins them."""
        return self.session == "daemon"

    def knows(self, key: str) -> bool:
        """Whether the engine and method support `key`, one of `POSTGRES_KEYS`."""
        return (self.engine, self.method) in POSTGRES_KEYS[key]


class MysqlSettings(Strict):
    """A MySQL or MariaDB database: `dsn` is `mysql://USER@HOST/DATABASE?unix_socket=...`.

    With `databases` the source is several databases, and the dsn need not name one. Patterns of
    tables match a table's name or `database.table`. The lock is requested only while no statement
    is older than `long_query` and no replication lags by more than `lag_limit`. After `lock_wait`
    the backup is refused. No lock is held longer than `lock_hold`.

    Engine `tools` dumps the database with the server's own program; with `backup_as_tables`, table
    by table. `method: physical` copies the files of the whole server.
    """

    kind: Literal["mysql"]
    engine: Literal["native", "tools"] = "native"
    method: Method = "logical"
    backup_as_tables: bool = False
    databases: Literal["all"] | Patterns | None = None
    exclude_databases: Patterns = ()
    tables: Patterns | None = None
    exclude_tables: Patterns = ()
    ddl: Literal["block", "detect", "ignore"] = "detect"
    loose_tables: Literal["refuse", "lock"] = "refuse"
    long_query: Duration = timedelta(minutes=1)
    lag_limit: Duration = timedelta(minutes=10)
    lock_wait: Duration = timedelta(minutes=1)
    lock_hold: Duration = timedelta(seconds=10)
    dsn: Dsn
    password_file: SecretPath | None = None
    password: SecretSource | None = None

    @property
    def held_by_daemon(self) -> bool:
        """Always False: sessions of MySQL and MariaDB cannot be shared."""
        return False

    @classmethod
    def suited(cls, value: Any, key: str, before: Mapping[str, Any], /) -> Any:
        """The dsn names a database unless `databases` does."""
        if key != "dsn":
            return value
        return mysql_url(value, needs_database=before.get("databases") is None)

    def require_sound(self) -> None:
        """Refuse a key that the chosen engine would silently ignore."""
        _require_one_password(self)
        foreign, remedy = MYSQL_KEYS_OF_OTHERS[self.engine]
        self._refuse(foreign, f"has no effect with engine {self.engine}", hint=remedy)
        if self.method == "physical":
            self._refuse(
                ("backup_as_tables", "databases", "exclude_databases"),
                "has no effect with method physical",
                hint="leave it out",
            )

    def _refuse(self, keys: Iterable[str], why: str, *, hint: str) -> None:
        for key in keys:
            if key in self.written:
                raise Mistake(f"'{key}' {why}", hint=hint)


SourceSettings = Annotated[PostgresSettings | MysqlSettings, By("kind")]
