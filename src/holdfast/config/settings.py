"""What may stand in holdfast.yaml: frozen, typed, and nothing else is accepted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from holdfast.config.dsn import Dsn, MysqlDsn
from holdfast.config.values import (
    AbsolutePath,
    Count,
    Duration,
    Name,
    Processes,
    SecretPath,
    Size,
    problem,
)
from holdfast.model import Codec

# YAML knows lists only; nothing changes afterwards all the same.
Patterns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)]

BLOB_BYTES = 1 << 20
STALL_TIMEOUT = timedelta(minutes=15)
STATE_DIRECTORY = Path("/var/lib/holdfast-state")
SESSION_SOCKET = Path("/run/holdfast-sessiond/socket")
TIMEOUT = timedelta(hours=2)
# Above 19 zstd wants a window that stock tools refuse without being asked for it.
LEVELS = {Codec.ZSTD: (1, 19), Codec.GZIP: (1, 9), Codec.NONE: (0, 0)}
LEVEL_CAPS = {Codec.ZSTD: 9, Codec.GZIP: 6, Codec.NONE: 0}
DEFAULT_LEVELS = {Codec.ZSTD: 3, Codec.GZIP: 6, Codec.NONE: 0}


# Keys of a PostgreSQL source that not every engine knows.
KEYS_OF_ENGINES = {
    "transport": ("native", "physical"),
    "chunk_size": ("native",),
    "blobs": ("native",),
    "blob_size": ("native",),
    "databases": ("native", "tools"),
    "exclude_databases": ("native", "tools"),
    "session": ("physical",),
    "checkpoint": ("physical",),
}


class Strict(BaseModel):
    """A part of the file: no key is ignored, no type is guessed, nothing changes afterwards."""

    # Built at the first use: `holdfast --help` should not wait for it.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _tell_known_keys(cls, data: Any, info: ValidationInfo) -> Any:
        """Let whoever explains an unknown key know which ones this mapping may have."""
        if isinstance(data, dict) and isinstance(info.context, dict):
            info.context[id(data)] = frozenset(cls.model_fields)
        return data


class LocalSettings(Strict):
    """Backups in a folder of this host."""

    kind: Literal["local"]
    path: AbsolutePath


# The next kind of store joins here: `Annotated[LocalSettings | S3Settings, Field(discriminator)]`.
RepositorySettings = Annotated[LocalSettings, Field()]


class PostgresSettings(Strict):
    """A PostgreSQL database: `dsn` is a libpq connection string or URL.

    With `databases` it is several: `all`, or names and patterns (`shop_*`), less those of
    `exclude_databases`; the dsn's own is then only where the list is asked for.
    """

    kind: Literal["postgres"]
    engine: Literal["native", "tools", "physical"] = "native"
    transport: Literal["auto", "fifo", "wire"] = "auto"
    databases: Literal["all"] | Patterns | None = None
    exclude_databases: Patterns = ()
    chunk_size: Size | None = None
    blobs: Literal["inline", "external"] = "inline"
    blob_size: Size = BLOB_BYTES
    dsn: Dsn
    password_file: SecretPath | None = None
    session: Literal["own", "daemon"] = "own"
    checkpoint: Literal["fast", "spread"] = "fast"

    @model_validator(mode="after")
    def _suits_engine(self) -> Self:
        """What only one engine can do is not silently left undone by another."""
        for key, engines in KEYS_OF_ENGINES.items():
            if key in self.model_fields_set and self.engine not in engines:
                raise problem(
                    f"'{key}' means nothing to engine {self.engine}",
                    hint=f"leave it out, or use {engines[0]}",
                )
        if self.engine == "physical" and self.transport == "fifo":
            raise problem(
                "engine physical has no transport fifo",
                hint="leave it out to read files, or write wire for pg_basebackup",
            )
        if self.transport == "wire" and self.session == "daemon":
            raise problem(
                "pg_basebackup begins and ends its backup itself: no daemon can hold it",
                hint="leave out session, or transport",
            )
        return self


class MysqlSettings(Strict):
    """A MySQL or MariaDB database: `dsn` is `mysql://USER@HOST/DATABASE?unix_socket=...`."""

    kind: Literal["mysql"]
    engine: Literal["native"] = "native"
    dsn: MysqlDsn
    password_file: SecretPath | None = None


SourceSettings = Annotated[PostgresSettings | MysqlSettings, Field(discriminator="kind")]


class CompressionSettings(Strict):
    """How stored parts are compressed.

    A level above `level_cap` is lowered to it: beyond the default cap a backup takes a database
    host's processors for hours to save a few percent.
    """

    codec: Annotated[Codec, Field(strict=False)] = Codec.ZSTD
    level: int | None = None
    level_cap: int | None = None

    @field_validator("level")
    @classmethod
    def _suits_codec(cls, level: int | None, info: ValidationInfo) -> int | None:
        if level is None or "codec" not in info.data:
            return level
        low, high = LEVELS[info.data["codec"]]
        if not low <= level <= high:
            raise problem(f"{level} is not a level of this codec", hint=f"from {low} to {high}")
        return level

    @property
    def effective_level(self) -> int:
        return min(self.asked_level, self.effective_cap)

    @property
    def asked_level(self) -> int:
        return DEFAULT_LEVELS[self.codec] if self.level is None else self.level

    @property
    def effective_cap(self) -> int:
        return LEVEL_CAPS[self.codec] if self.level_cap is None else self.level_cap


class RetentionSettings(Strict):
    """How many backups of each kind `prune` keeps; the newest one always stays."""

    last: Count = 0
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0
    yearly: Count = 0


class JobSettings(Strict):
    """One database or several, where their backups go, and under which limits.

    `timeout` is for each database, `stall_timeout` since its last byte. `max_rate` is in bytes
    a second over all workers. `attempts` counts tries of what is safe to try again.
    """

    source: SourceSettings
    repository: Name
    compression: CompressionSettings = CompressionSettings()
    max_concurrent_processes: Processes = None
    schedule: Annotated[str, Field(min_length=1)] | None = None
    retention: RetentionSettings = RetentionSettings()
    overlap: Literal["skip", "wait"] = "skip"
    wait_at_most: Duration = TIMEOUT
    timeout: Duration = TIMEOUT
    stall_timeout: Duration = STALL_TIMEOUT
    memory_limit_mb: Annotated[int, Field(ge=1)] | None = None
    max_rate: Size | None = None
    pause_above_load: Annotated[float, Field(gt=0, strict=False)] | None = None
    pause_above_lag: Duration | None = None
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    resumable: bool = False


class SessionsSettings(Strict):
    """The daemon that holds database sessions: where it listens, whom it serves, how much it holds.

    Members of `group` may hold sessions of their own, those of `admin_group` end everybody's;
    without either only root and the daemon's own user are served.
    """

    socket: AbsolutePath = SESSION_SOCKET
    group: Annotated[str, Field(min_length=1)] | None = None
    admin_group: Annotated[str, Field(min_length=1)] | None = None
    per_server: Annotated[int, Field(ge=1, le=1000)] = 4
    longest: Duration = timedelta(days=1)


class Settings(Strict):
    """The whole file."""

    state_directory: AbsolutePath = STATE_DIRECTORY
    metrics_directory: AbsolutePath | None = None
    sessions: SessionsSettings = SessionsSettings()
    repositories: dict[Name, RepositorySettings]
    jobs: dict[Name, JobSettings]
