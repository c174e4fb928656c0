"""Settings into objects for whole clusters and held sessions: the part of `wiring` about those."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.config.secret import read_secret
from holdfast.config.settings import JobSettings, Settings
from holdfast.config.sources import PostgresSettings
from holdfast.model.recovery import ServerStarter
from holdfast.model.wal_archive import WalStream
from holdfast.ports.sessions import Bracket, Holder
from holdfast.ports.source import Source
from holdfast.ports.target import Target

if TYPE_CHECKING:
    from holdfast.sources.postgres.server.login import Login


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
