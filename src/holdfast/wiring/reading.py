"""Build from the settings what reads a repository: for list, verify, restore and copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.catalog.drill_records import DrillRecords, Drills
from holdfast.catalog.manifest_index import ManifestIndex
from holdfast.config.settings import Settings, VerifySettings
from holdfast.host_state.kept_files import FileFailedStatements
from holdfast.host_state.verification_log import FileVerificationLog
from holdfast.runtime.clock import now
from holdfast.wiring.keys import believed_keys
from holdfast.wiring.repositories import (
    job_settings,
    repository,
    repository_settings,
    store_name,
)

if TYPE_CHECKING:
    from holdfast.model.restore import FailedStatements
    from holdfast.operations.verify.backup import BackupReader
    from holdfast.pipeline.encryption import Identities
    from holdfast.ports.host_state import VerificationLog
    from holdfast.ports.repository import Repository
    from holdfast.ports.run import Progress


def repository_of(settings: Settings, job: str, *, chosen: str = "") -> Repository:
    """The repository of `job`, or the one `chosen` by name."""
    return repository(repository_settings(settings, store_name(settings, job, chosen=chosen)))


def is_signed(settings: Settings, job: str, *, chosen: str = "") -> bool:
    """Whether the repository of `job` requires signed manifests."""
    name = store_name(settings, job, chosen=chosen)
    return repository_settings(settings, name).authentication is not None


def failed_statements(settings: Settings) -> FailedStatements:
    """Where a restore that continues after errors keeps the failed statements."""
    return FileFailedStatements(settings.state_directory / "failed-statements")


def index_of(settings: Settings, job: str, *, chosen: str = "") -> ManifestIndex:
    """This host's index of the manifests in the repository of `job`."""
    name = store_name(settings, job, chosen=chosen)
    store = repository_settings(settings, name)
    return ManifestIndex(
        repository(store),
        settings.state_directory / "index" / f"{name}.sqlite",
        believed=believed_keys(store.authentication),
    )


def drills_of(settings: Settings, job: str, *, chosen: str = "") -> Drills:
    """The records of the drills of `job`."""
    store = repository_settings(settings, store_name(settings, job, chosen=chosen))
    return DrillRecords(repository(store), job).all()


def known_backups(settings: Settings, job: str, *, chosen: str = "") -> list[str]:
    """The ids of the backups of `job`, without a network request and without reading a manifest.

    For a store elsewhere they are those of the last overview.
    """
    name = store_name(settings, job, chosen=chosen)
    index = index_of(settings, job, chosen=chosen)
    if repository_settings(settings, name).kind == "local":
        return index.present(job)
    return index.remembered(job)


def reader_of(
    settings: Settings,
    job: str,
    *,
    progress: Progress,
    identities: Identities | None = None,
    chosen: str = "",
) -> BackupReader:
    """A reader that verifies backups of `job`."""
    from holdfast.operations.verify.backup import BackupReader

    name = store_name(settings, job, chosen=chosen)
    return BackupReader(
        repository=repository(repository_settings(settings, name)),
        verification_log=verification_log(settings, name),
        clock=now,
        progress=progress,
        identities=identities,
    )


def verification_log(settings: Settings, name: str) -> VerificationLog:
    """What this host has read back from the repository `name`, and restored from it."""
    return FileVerificationLog(settings.state_directory / "proofs" / f"{name}.sqlite")


def verify_settings(settings: Settings, job: str | None) -> VerifySettings:
    """How `job` is verified; the defaults for no job. Raises `UnknownJob`."""
    return VerifySettings() if job is None else job_settings(settings, job).verify
