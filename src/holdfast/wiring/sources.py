"""Settings of databases into sources and targets; drivers load where they are used."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from holdfast.config.secret import read_secret
from holdfast.config.settings import CompressionSettings, JobSettings
from holdfast.config.sources import MysqlSettings, PostgresSettings, SourceSettings
from holdfast.model.backup import POSTGRES_CLUSTER, Selection
from holdfast.model.checksums import Policy
from holdfast.model.errors import Unsupported
from holdfast.ports.sessions import Holder
from holdfast.ports.source import Source
from holdfast.ports.target import Target
from holdfast.wiring import clusters

_KEYWORDS = re.compile(r"\s*[a-z_]+\s*=")


def source_of(job: JobSettings, chunk_bytes: int | None, *, holder: Holder | None = None) -> Source:
    """The database of `job`; `chunk_bytes` overrules its size above which tables are split.

    `holder` holds its sessions where they are not to be those of this process.
    """
    settings = _chunked(job.source, chunk_bytes)
    return SOURCES[type(settings)](settings, job, holder)


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


def _chunked(source: SourceSettings, chunk_bytes: int | None) -> SourceSettings:
    if chunk_bytes is None:
        return source
    if not isinstance(source, PostgresSettings) or not source.knows("chunk_size"):
        way = f"{source.kind} source, engine {source.engine}, method {source.method},"
        raise Unsupported(
            f"cannot split tables of a {way} at a size of your choice",
            hint="leave --chunk-size out",
        )
    return source.model_copy(update={"chunk_size": chunk_bytes})


def _password(file: Path | None) -> str | None:
    return read_secret(file).reveal() if file else None


def _postgres_source(settings: PostgresSettings, job: JobSettings, holder: Holder | None) -> Source:
    if settings.method == "physical":
        return clusters.physical_source(settings, holder)
    if settings.engine == "tools":
        return _postgres_tools_source(settings, job.compression)
    from holdfast.sources.postgres.rows.source import PostgresSource

    return PostgresSource(
        dsn=settings.dsn,
        password=_password(settings.password_file),
        transport=settings.transport,
        chunk_bytes=settings.chunk_size,
        external_bytes=settings.blob_size if settings.blobs == "external" else None,
        selection=_selection(settings),
        elsewhere=holder,
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


def _mysql_source(settings: MysqlSettings, job: JobSettings, _holder: Holder | None) -> Source:
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


# Each constructor takes the one type that is its key, which a dictionary's type cannot say.
SOURCES: dict[type, Callable[[Any, JobSettings, Holder | None], Source]] = {
    PostgresSettings: _postgres_source,
    MysqlSettings: _mysql_source,
}

MakeTarget = Callable[[str, str | None], Target]
# How each kind of server's backups come back, by the scheme of the URL.
_POSTGRES: dict[str, MakeTarget] = {"postgres": _postgres_target}
_MYSQL: dict[str, MakeTarget] = {"mysql": _mysql_target, "mariadb": _mysql_target}
_FOLDER: dict[str, MakeTarget] = {
    "mariadb": _datadir_target,
    POSTGRES_CLUSTER: clusters.directory_target,
}
TARGETS = {
    "postgres": _POSTGRES,
    "postgresql": _POSTGRES,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "file": _FOLDER,
}
