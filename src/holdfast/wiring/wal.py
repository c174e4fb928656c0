"""Build from the settings what archives the WAL of a job and fetches it for a recovery."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.catalog.places import WAL
from holdfast.config.sources import PostgresSettings
from holdfast.host_state.kept_files import FileClusters
from holdfast.model.backup import Codec
from holdfast.model.errors import HoldfastError, UnknownJob, Unsupported
from holdfast.operations.context import ArchiveContext, JobSpec, RunRules, StoredForm
from holdfast.runtime import clock, kernel_calls
from holdfast.wiring import jobs as wiring, sources
from holdfast.wiring.repositories import job_settings, repository, repository_settings, store_name

if TYPE_CHECKING:
    from holdfast.config.settings import Settings
    from holdfast.model.recovery import ServerStarter
    from holdfast.model.wal_archive import WalStream
    from holdfast.operations.wal.snapshot_script import SnapshotRequest
    from holdfast.ports.repository import Repository
    from holdfast.ports.sessions import Bracket

TOKEN_BYTES = 8
FORMER_JOB_ATTEMPTS = 3
# For a server of a job that is no longer configured: log in as the current user.
OWN_DSN = "dbname=postgres"


def archiving(settings: Settings, name: str, *, chosen: str = "") -> ArchiveContext:
    """The context that archives the WAL of job `name` in its repository and its mirrors.

    With `chosen`, in that repository only. Raises `UnknownJob`, and `Unsupported` if its server
    has no WAL.
    """
    config = wiring.configured(settings, name, chosen=chosen)
    server_of(settings, name)
    mirrors = () if chosen else config.job.mirrors
    others = [repository_settings(settings, each) for each in mirrors]
    return ArchiveContext(
        job=config.spec,
        repositories=tuple(repository(each) for each in (config.store, *others)),
        host=kernel_calls.host_name(),
        clock=clock.now,
        new_token=lambda: kernel_calls.token_hex(TOKEN_BYTES),
        clusters=FileClusters(spool(settings, name) / "clusters" / config.kept_in),
    )


def fetching(settings: Settings, name: str, *, chosen: str = "") -> ArchiveContext:
    """The context that fetches the WAL of job `name`, also of a job that was renamed since.

    Backups and WAL of a renamed job keep the old name. Raises `UnknownJob` if that name is neither
    configured nor has WAL: a misspelt name must not look like the end of the WAL.
    """
    if name in settings.jobs:
        return archiving(settings, name, chosen=chosen)
    kept_in = store_name(settings, name, chosen=chosen)
    store = repository_settings(settings, kept_in)
    _require_wal(settings, name, repository(store))
    return ArchiveContext(
        job=JobSpec(
            name=name,
            form=StoredForm(codec=Codec.ZSTD, level=1),
            rules=RunRules(attempts=FORMER_JOB_ATTEMPTS),
        ),
        repositories=(repository(store),),
        host=kernel_calls.host_name(),
        clock=clock.now,
        new_token=lambda: kernel_calls.token_hex(TOKEN_BYTES),
    )


def _require_wal(settings: Settings, name: str, kept_in: Repository) -> None:
    try:
        if next(iter(kept_in.list(f"{name}{WAL}")), None) is None:
            job_settings(settings, name)
    except UnknownJob:
        raise
    except HoldfastError as error:
        raise UnknownJob(
            f"cannot find job '{name}': it is not configured, and its WAL archive"
            f" cannot be read: {error.message}",
            hint=error.hint,
        ) from error


def server_of(settings: Settings, name: str) -> PostgresSettings:
    """The server of job `name`; raises `UnknownJob`, and `Unsupported` if it has no WAL."""
    source = job_settings(settings, name).source
    if isinstance(source, PostgresSettings):
        return source
    raise Unsupported(
        f"cannot work with the WAL of job '{name}': a {source.kind} server has none",
        hint="only PostgreSQL jobs have WAL",
    )


def stream(settings: Settings, name: str, *, slot: str) -> WalStream:
    """The WAL stream of the server of job `name`."""
    return sources.wal_stream(server_of(settings, name), slot=slot)


def starter(settings: Settings, name: str, url: str, *, options: str) -> ServerStarter:
    """A starter of a server on a restored folder of job `name`."""
    server = (
        server_of(settings, name)
        if name in settings.jobs
        else PostgresSettings(kind="postgres", dsn=OWN_DSN)
    )
    return sources.starter(url, server, options=options)


def tablespaces_of(url: str) -> Path | None:
    """The folder for tablespaces that the target at `url` names; None if it names none."""
    return sources.tablespaces_of(url)


def restore_command(program: Sequence[str], arguments: Sequence[str]) -> str:
    """The `restore_command` that runs `program`; the server fills in `%f` and `%p`."""
    from shlex import quote  # not for those who archive

    words = [quote(each).replace("%", "%%") for each in (*program, *arguments)]
    return " ".join([*words, "%f", "%p"])


def bracket(settings: Settings, name: str) -> Bracket:
    """A base backup of the cluster of job `name` around another program's copy."""
    job = job_settings(settings, name)
    holder = sources.holding_daemon(settings, name, job)
    return sources.bracket(server_of(settings, name), holder)


def snapshot_request(
    settings: Settings, name: str, *, script: Path, labels: Path | None, label: str
) -> SnapshotRequest:
    """The request for a snapshot of job `name`; `labels` defaults to a folder of its own."""
    from holdfast.operations.wal.snapshot_script import SnapshotRequest

    taken = f"{clock.now():%Y%m%dT%H%M%SZ}-{kernel_calls.token_hex(4)}"
    return SnapshotRequest(
        job=name,
        script=script,
        labels=labels.absolute()
        if labels
        else settings.state_directory / "snapshots" / name / taken,
        label=label,
        timeout=job_settings(settings, name).timeout,
    )


def spool(settings: Settings, name: str) -> Path:
    """The folder for WAL files of job `name` that were fetched ahead or wait to be archived."""
    return settings.state_directory / "wal" / name
