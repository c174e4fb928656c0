"""Build sources, targets and sessions from the settings; each function imports its driver."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.config.secret import read_secret, secret_of
from holdfast.config.sources import (
    CLUSTERS_HINT,
    MysqlSettings,
    PostgresSettings,
    SourceSettings,
)
from holdfast.model.backup import POSTGRES_CLUSTER, Selection
from holdfast.model.errors import ToolMissing, Unsupported
from holdfast.model.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from holdfast.config.settings import CompressionSettings, JobSettings, Settings
    from holdfast.model.checksums import Policy
    from holdfast.model.recovery import ServerStarter
    from holdfast.model.wal_archive import Archiver, WalStream
    from holdfast.ports.sessions import Bracket, HeldKind, Holder
    from holdfast.ports.source import Source
    from holdfast.ports.target import Target
    from holdfast.sources.postgres.server.login import Login


# Of the extra `clusters`.
PAGE_LIBRARY = "numpy"
APPLICATION = "holdfast"
_KEYWORDS = re.compile(r"\s*[a-z_]+\s*=")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """Options of one run for its source, in addition to the settings.

    `chunk_bytes` overrides the size above which tables are split. `holder` holds the run's
    sessions; None if this process holds them.
    """

    chunk_bytes: int | None = None
    holder: Holder | None = None


def source_of(job: JobSettings, options: SourceOptions) -> Source:
    """The source of `job`; raises `Unsupported` for an option that it does not support."""
    if options.chunk_bytes is not None:
        _require_chunks(job.source)
    return SOURCES[type(job.source)](job.source, job, options)


def target_for(url: str, *, kind: str, password_file: Path | None) -> Target:
    """The target at `url`, for a backup of a server of this `kind`. Raises `Unsupported`."""
    scheme = _scheme(url)
    if scheme not in TARGETS:
        # Do not quote the whole URL: one that cannot be parsed may hold a password anywhere.
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
    """The scheme of `url`; a string of libpq keywords, as `dsn` takes it, is PostgreSQL's."""
    if _KEYWORDS.match(url):
        return "postgresql"
    from urllib.parse import urlsplit  # only for targets

    return urlsplit(url).scheme if "://" in url else ""


def _require_chunks(source: SourceSettings) -> None:
    if not isinstance(source, PostgresSettings) or not source.knows("chunk_size"):
        way = f"{source.kind} source, engine {source.engine}, method {source.method},"
        raise Unsupported(
            f"cannot set the size of table ranges of a {way}",
            hint="run the command without --chunk-size",
        )


def _password(file: Path | None) -> str | None:
    return read_secret(file).reveal() if file else None


def _postgres_source(
    settings: PostgresSettings, job: JobSettings, options: SourceOptions
) -> Source:
    if settings.method == "physical":
        return physical_source(settings, job, options.holder)
    if settings.engine == "tools":
        return _postgres_tools_source(settings, job.compression)
    from holdfast.sources.postgres.rows.source import PostgresSource

    return PostgresSource(
        dsn=settings.dsn,
        password=_password_of(settings),
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
        password=_password_of(settings),
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
    return MysqlSource(dsn=settings.dsn, password=_password_of(settings), options=options)


def checksum_policy(job: JobSettings) -> Policy:
    """Which tables the server computes checksums of."""
    if job.checksums == "auto":
        return "auto"
    return "all" if job.checksums else "none"


def _mysql_tools_source(settings: MysqlSettings, compression: CompressionSettings) -> Source:
    from holdfast.sources.mysql.dump.pipe import Compressing
    from holdfast.sources.mysql.dump.source import MysqlToolsSource
    from holdfast.sources.mysql.files.source import MysqlPhysicalSource

    if settings.method == "physical":
        return MysqlPhysicalSource(settings.dsn, password=_password_of(settings))
    program = compression.program
    return MysqlToolsSource(
        settings.dsn,
        password=_password_of(settings),
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
    """The daemon as the holder of this job's sessions; None unless the job asks for that."""
    if not isinstance(job.source, PostgresSettings) or job.source.session != "daemon":
        return None
    from holdfast.sessions.client import RemoteHolder, SessionClient

    return RemoteHolder(
        client=SessionClient(socket_path=settings.sessions.socket),
        job=name,
        # The time to resume a killed run is as long as the run itself may take.
        ttl_seconds=int(job.timeout.total_seconds()),
    )


def physical_source(settings: PostgresSettings, job: JobSettings, holder: Holder | None) -> Source:
    """A source that reads the cluster's files, or pg_basebackup with `engine: tools`."""
    _require_page_checks()
    from holdfast.sources.postgres.files.source import PhysicalSource
    from holdfast.sources.postgres.files.stream import StreamSource

    login = _login(settings, APPLICATION)
    fast = settings.checkpoint == "fast"
    if settings.engine == "tools":
        return StreamSource(login=login, fast=fast, incrementals=settings.incremental)
    return PhysicalSource(
        login=login,
        holder=holder or postgres_holder(settings, APPLICATION),
        fast=fast,
        # The workers that a limit allows take all of it.
        may_have_process=job.memory_limit_mb is None,
    )


def server_archiver(settings: PostgresSettings) -> Archiver:
    """As `archiver` of a physical source, of which all else takes longer to load than the answer.

    Raises `DatabaseUnreachable`, `AccessDenied`, `GrantMissing`.
    """
    if settings.password is None and settings.password_file is None:
        from holdfast.sources.postgres.files.archiver import asked_on_socket

        found = asked_on_socket(settings.dsn, application_name=APPLICATION)
        if found is not None:
            return found
    from holdfast.sources.postgres.files import wal

    return wal.archiver(_login(settings, APPLICATION))


def _require_page_checks() -> None:
    """Raise `ToolMissing` before a run begins: pages are checked with a library of an extra."""
    from importlib.util import find_spec

    # Only found: it takes a tenth of a second to load, and not all clusters have checksums.
    if find_spec(PAGE_LIBRARY) is None:
        raise ToolMissing(
            f"cannot check pages of PostgreSQL clusters: No module named '{PAGE_LIBRARY}'",
            hint=CLUSTERS_HINT,
        )


def postgres_holder(settings: PostgresSettings, application_name: str) -> Holder:
    """A holder of sessions in this process; the server shows them as `application_name`."""
    from holdfast.sources.postgres.files.session_holder import PostgresHolder

    return PostgresHolder(_login(settings, application_name))


def _login(settings: PostgresSettings, application_name: str) -> Login:
    from holdfast.sources.postgres.server.login import Login

    password = _password_of(settings)
    return Login.parse(settings.dsn, password=password, application_name=application_name)


def _password_of(settings: SourceSettings) -> str | None:
    found = secret_of(settings.password, "the source's password")
    return found.reveal() if found else _password(settings.password_file)


def directory_target(url: str, _password: str | None) -> Target:
    """A folder to restore a cluster into; it needs no password."""
    from holdfast.sources.postgres.files.target import DirectoryTarget

    return DirectoryTarget(url)


def tablespaces_of(url: str) -> Path | None:
    """The folder for tablespaces that the target at `url` names; None if it names none."""
    from holdfast.sources.postgres.files.target import DirectoryTarget

    return DirectoryTarget(url).tablespaces


def wal_stream(settings: PostgresSettings, *, slot: str) -> WalStream:
    """The server's WAL stream; with a `slot`, the server keeps WAL until we have received it."""
    from holdfast.sources.postgres.files.wal_receiver import PostgresWalStream

    return PostgresWalStream(_login(settings, "holdfast-wal"), slot=slot)


def bracket(settings: PostgresSettings, holder: Holder | None) -> Bracket:
    """A base backup around another program's copy; without `holder`, in a session of our own."""
    from holdfast.sources.postgres.files.source import PostgresBaseBackup

    return PostgresBaseBackup(
        login=_login(settings, APPLICATION), holder=holder or postgres_holder(settings, APPLICATION)
    )


def starter(url: str, settings: PostgresSettings, *, options: str) -> ServerStarter:
    """A starter of a server on the folder that `url` names; it logs in as the job does."""
    from holdfast.sources.postgres.files.server_start import ClusterStarter
    from holdfast.sources.postgres.files.target import DirectoryTarget

    folder = DirectoryTarget(url).folder
    return ClusterStarter(folder, login=_login(settings, APPLICATION), options=options)


def sessions_of(job: JobSettings, name: str) -> tuple[Holder, HeldKind]:
    """The holder of sessions for job `name`, and the kind of session that its method needs.

    Raises `Unsupported` if its server has no sessions to hold.
    """
    source = job.source
    if not isinstance(source, PostgresSettings):
        raise Unsupported(
            f"cannot hold a session for job '{name}': a {source.kind} server has none to share",
            hint="sessions are for PostgreSQL: base backups and exported snapshots",
        )
    from holdfast.ports.sessions import HeldKind

    kind = HeldKind.BACKUP if source.method == "physical" else HeldKind.SNAPSHOT
    return postgres_holder(source, "holdfast-sessiond"), kind


# Each constructor takes the type that is its key; a dictionary's type cannot express that.
SOURCES: dict[type, Callable[[Any, JobSettings, SourceOptions], Source]] = {
    PostgresSettings: _postgres_source,
    MysqlSettings: _mysql_source,
}

MakeTarget = Callable[[str, str | None], "Target"]
# The targets for each kind of server's backups, by the scheme of the URL.
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
