"""Settings of databases into sources, targets and sessions; drivers load where they are used."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from holdfast.config.secret import read_secret
from holdfast.config.settings import CompressionSettings, JobSettings, Settings
from holdfast.config.sources import MysqlSettings, PostgresSettings, SourceSettings
from holdfast.model.backup import POSTGRES_CLUSTER, Selection
from holdfast.model.checksums import Policy
from holdfast.model.errors import Unsupported
from holdfast.model.recovery import ServerStarter
from holdfast.model.wal_archive import WalStream
from holdfast.ports.sessions import Bracket, HeldKind, Holder
from holdfast.ports.source import Source
from holdfast.ports.target import Target

if TYPE_CHECKING:
    from holdfast.sources.postgres.server.login import Login


_KEYWORDS = re.compile(r"\s*[a-z_]+\s*=")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What one run asks of its source beside the settings.

    `chunk_bytes` overrules the size above which tables are split. `holder` holds its sessions
    where they are not to be those of this process.
    """

    chunk_bytes: int | None = None
    holder: Holder | None = None


def source_of(job: JobSettings, options: SourceOptions) -> Source:
    """The database of `job`; raises `Unsupported` for an option that it knows nothing of."""
    if options.chunk_bytes is not None:
        _require_chunks(job.source)
    return SOURCES[type(job.source)](job.source, job, options)


def target_for(url: str, *, kind: str, password_file: Path | None) -> Target:
    """A database to restore a backup of server kind `kind` into. Raises `Unsupported`."""
    scheme = _scheme(url)
    if scheme not in TARGETS:
        # Not the whole of it: a password may stand anywhere in what cannot be read.
        raise Unsupported(
            f"cannot restore into a '{scheme or url.partition('=')[0]}' target: no engine knows it",
            hint="--to takes postgresql://USER@/DATABASE, 'host=... dbname=...', "
            "mysql://USER@HOST/DATABASE, or file:///DIRECTORY for a physical backup",
        )
    makers = TARGETS[scheme]
    if kind not in makers:
        raise Unsupported(
            f"cannot restore into a '{scheme}' target: the backup is of a {kind} server",
            hint="name a database of the same kind with --to, or file:///DIRECTORY for its files",
        )
    return makers[kind](url, _password(password_file))


def _scheme(url: str) -> str:
    """A string of libpq's keywords, as `dsn` takes it, is one of PostgreSQL."""
    if _KEYWORDS.match(url):
        return "postgresql"
    return urlsplit(url).scheme if "://" in url else ""


def _require_chunks(source: SourceSettings) -> None:
    if not isinstance(source, PostgresSettings) or not source.knows("chunk_size"):
        way = f"{source.kind} source, engine {source.engine}, method {source.method},"
        raise Unsupported(
            f"cannot split tables of a {way} at a size of your choice",
            hint="leave --chunk-size out",
        )


def _password(file: Path | None) -> str | None:
    return read_secret(file).reveal() if file else None


def _postgres_source(
    settings: PostgresSettings, job: JobSettings, options: SourceOptions
) -> Source:
    if settings.method == "physical":
        return physical_source(settings, options.holder)
    if settings.engine == "tools":
        return _postgres_tools_source(settings, job.compression)
    from holdfast.sources.postgres.rows.source import PostgresSource

    return PostgresSource(
        dsn=settings.dsn,
        password=_password(settings.password_file),
        transport=settings.transport,
        chunk_bytes=settings.chunk_size if options.chunk_bytes is None else options.chunk_bytes,
        external_bytes=settings.blob_size if settings.blobs == "external" else None,
        selection=_selection(settings),
        elsewhere=options.holder,
        checksums=checksum_policy(job),
    )


def _selection(settings: PostgresSettings | MysqlSettings) -> Selection | None:
    if settings.databases is None:
        return None
    include = ("*",) if settings.databases == "all" else settings.databases
    return Selection(include=include, exclude=settings.exclude_databases)


def _postgres_tools_source(settings: PostgresSettings, compression: CompressionSettings) -> Source:
    from holdfast.sources.postgres.dump.source import PostgresToolsSource

    return PostgresToolsSource(
        dsn=settings.dsn,
        password=_password(settings.password_file),
        codec=compression.codec,
        level=compression.effective_level,
        selection=_selection(settings),
    )


def _mysql_source(settings: MysqlSettings, job: JobSettings, _options: SourceOptions) -> Source:
    if settings.engine == "tools":
        return _mysql_tools_source(settings, job.compression)
    from holdfast.sources.mysql.rows.source import MysqlSource
    from holdfast.sources.mysql.server.options import Options

    tables = None
    if settings.tables is not None or settings.exclude_tables:
        tables = Selection(include=settings.tables or ("*",), exclude=settings.exclude_tables)
    options = Options(
        databases=_selection(settings),
        tables=tables,
        ddl=settings.ddl,
        loose_tables=settings.loose_tables,
        long_query_seconds=settings.long_query.total_seconds(),
        most_lag_seconds=settings.lag_limit.total_seconds(),
        wait_seconds=settings.lock_wait.total_seconds(),
        hold_seconds=settings.lock_hold.total_seconds(),
        checksums=checksum_policy(job),
    )
    return MysqlSource(
        dsn=settings.dsn, password=_password(settings.password_file), options=options
    )


def checksum_policy(job: JobSettings) -> Policy:
    """Of which tables the server is to sum up the content."""
    if job.checksums == "auto":
        return "auto"
    return "all" if job.checksums else "none"


def _mysql_tools_source(settings: MysqlSettings, compression: CompressionSettings) -> Source:
    from holdfast.sources.mysql.dump.pipe import Compressing
    from holdfast.sources.mysql.dump.source import MysqlToolsSource
    from holdfast.sources.mysql.files.source import MysqlPhysicalSource

    if settings.method == "physical":
        return MysqlPhysicalSource(settings.dsn, password=_password(settings.password_file))
    program = compression.program
    return MysqlToolsSource(
        settings.dsn,
        password=_password(settings.password_file),
        selection=_selection(settings),
        as_tables=settings.backup_as_tables,
        compressing=Compressing(program=program, level=compression.effective_level)
        if program
        else None,
    )


def _postgres_target(url: str, password: str | None) -> Target:
    from holdfast.sources.postgres.target import PostgresTarget

    return PostgresTarget(url=url, password=password)


def _mysql_target(url: str, password: str | None) -> Target:
    from holdfast.sources.mysql.restore.target import MysqlTarget

    return MysqlTarget(url=url, password=password)


def _datadir_target(url: str, _password: str | None) -> Target:
    from holdfast.sources.mysql.files.datadir import DatadirTarget

    return DatadirTarget(url)


def holding_daemon(settings: Settings, name: str, job: JobSettings) -> Holder | None:
    """The daemon as the holder of this job's sessions, where the job wants that."""
    if not isinstance(job.source, PostgresSettings) or job.source.session != "daemon":
        return None
    from holdfast.sessions.client import RemoteHolder, SessionClient

    return RemoteHolder(
        client=SessionClient(socket_path=settings.sessions.socket),
        job=name,
        # Whoever resumes a run that was killed has as long as the run itself.
        ttl_seconds=int(job.timeout.total_seconds()),
    )


def physical_source(settings: PostgresSettings, holder: Holder | None) -> Source:
    """Files where they can be read, or pg_basebackup where the job says `engine: tools`."""
    from holdfast.sources.postgres.files.source import PhysicalSource
    from holdfast.sources.postgres.files.stream import StreamSource

    login = _login(settings, "holdfast")
    fast = settings.checkpoint == "fast"
    if settings.engine == "tools":
        return StreamSource(login=login, fast=fast, incrementals=settings.incremental)
    return PhysicalSource(
        login=login,
        holder=holder or postgres_holder(settings, "holdfast"),
        fast=fast,
    )


def postgres_holder(settings: PostgresSettings, application_name: str) -> Holder:
    """Sessions of this process; the server lists them under `application_name`."""
    from holdfast.sources.postgres.files.session_holder import PostgresHolder

    return PostgresHolder(_login(settings, application_name))


def _login(settings: PostgresSettings, application_name: str) -> Login:
    from holdfast.sources.postgres.server.login import Login

    file = settings.password_file
    password = read_secret(file).reveal() if file else None
    return Login.parse(settings.dsn, password=password, application_name=application_name)


def directory_target(url: str, _password: str | None) -> Target:
    """A folder to restore a cluster into; it needs no password."""
    from holdfast.sources.postgres.files.target import DirectoryTarget

    return DirectoryTarget(url)


def tablespaces_of(url: str) -> Path | None:
    """Where tablespaces go that are restored to the folder that `url` names, if it says so."""
    from holdfast.sources.postgres.files.target import DirectoryTarget

    return DirectoryTarget(url).tablespaces


def wal_stream(settings: PostgresSettings, *, slot: str) -> WalStream:
    """Its WAL as it is written, kept for us by `slot` where one is named."""
    from holdfast.sources.postgres.files.wal_receiver import PostgresWalStream

    return PostgresWalStream(_login(settings, "holdfast-wal"), slot=slot)


def bracket(settings: PostgresSettings, holder: Holder | None) -> Bracket:
    """A base backup around what others copy, held by the daemon where the job wants that."""
    from holdfast.sources.postgres.files.source import PostgresBaseBackup

    return PostgresBaseBackup(
        login=_login(settings, "holdfast"), holder=holder or postgres_holder(settings, "holdfast")
    )


def starter(url: str, settings: PostgresSettings, *, options: str) -> ServerStarter:
    """What starts a server on the folder that `url` names; it logs in as the job does."""
    from holdfast.sources.postgres.files.server_start import ClusterStarter
    from holdfast.sources.postgres.files.target import DirectoryTarget

    folder = DirectoryTarget(url).folder
    return ClusterStarter(folder, login=_login(settings, "holdfast"), options=options)


def sessions_of(job: JobSettings, name: str) -> tuple[Holder, HeldKind]:
    """Where sessions of job `name` come from, and what its engine needs them for.

    Raises `Unsupported` where its server knows no such thing.
    """
    source = job.source
    if not isinstance(source, PostgresSettings):
        raise Unsupported(
            f"cannot hold a session for job '{name}': a {source.kind} server has none to share",
            hint="sessions are for PostgreSQL: base backups and exported snapshots",
        )
    kind = HeldKind.BACKUP if source.method == "physical" else HeldKind.SNAPSHOT
    return postgres_holder(source, "holdfast-sessiond"), kind


# Each constructor takes the one type that is its key, which a dictionary's type cannot say.
SOURCES: dict[type, Callable[[Any, JobSettings, SourceOptions], Source]] = {
    PostgresSettings: _postgres_source,
    MysqlSettings: _mysql_source,
}

MakeTarget = Callable[[str, str | None], Target]
# How each kind of server's backups come back, by the scheme of the URL.
_POSTGRES: dict[str, MakeTarget] = {"postgres": _postgres_target}
_MYSQL: dict[str, MakeTarget] = {"mysql": _mysql_target, "mariadb": _mysql_target}
_FOLDER: dict[str, MakeTarget] = {
    "mariadb": _datadir_target,
    POSTGRES_CLUSTER: directory_target,
}
TARGETS = {
    "postgres": _POSTGRES,
    "postgresql": _POSTGRES,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "file": _FOLDER,
}
