"""Settings into what reads a repository back: for lists, proofs, restores and copies."""

from __future__ import annotations

from holdfast.catalog.manifest_index import ManifestIndex
from holdfast.config.settings import Settings
from holdfast.host_state.kept_files import FileFailedStatements
from holdfast.host_state.verification_log import FileVerificationLog
from holdfast.model.restore import FailedStatements
from holdfast.operations.verify.backup import BackupReader
from holdfast.pipeline.encryption import Identities
from holdfast.ports.host_state import VerificationLog
from holdfast.ports.repository import Repository
from holdfast.ports.run import Progress
from holdfast.runtime.clock import now
from holdfast.wiring.keys import believed_keys
from holdfast.wiring.repositories import repository, repository_settings, store_name


def repository_of(settings: Settings, job: str, *, chosen: str = "") -> Repository:
    """Where backups of `job` are, or the repository `chosen` by name."""
    return repository(repository_settings(settings, store_name(settings, job, chosen=chosen)))


def is_signed(settings: Settings, job: str, *, chosen: str = "") -> bool:
    """Whether only signed manifests are believed where backups of `job` are."""
    name = store_name(settings, job, chosen=chosen)
    return repository_settings(settings, name).authentication is not None


def failed_statements(settings: Settings) -> FailedStatements:
    """Where restores that keep going leave the statements of what they could not make."""
    return FileFailedStatements(settings.state_directory / "failed-statements")


def index_of(settings: Settings, job: str, *, chosen: str = "") -> ManifestIndex:
    """Overviews of the repository that has the backups of `job`."""
    name = store_name(settings, job, chosen=chosen)
    store = repository_settings(settings, name)
    return ManifestIndex(
        repository(store),
        settings.state_directory / "index" / f"{name}.sqlite",
        believed=believed_keys(store.authentication),
    )


def known_backups(settings: Settings, job: str, *, chosen: str = "") -> list[str]:
    """The backups of `job` by their ids that can be named without asking any network."""
    name = store_name(settings, job, chosen=chosen)
    index = index_of(settings, job, chosen=chosen)
    if repository_settings(settings, name).kind == "local":
        return [each.backup_id for each in index.overview(job).summaries]
    return index.remembered(job)


def reader_of(
    settings: Settings,
    job: str,
    *,
    progress: Progress,
    identities: Identities | None = None,
    chosen: str = "",
) -> BackupReader:
    """What reads backups of `job` back."""
    name = store_name(settings, job, chosen=chosen)
    return BackupReader(
        repository=repository(repository_settings(settings, name)),
        verification_log=verification_log(settings, name),
        clock=now,
        progress=progress,
        identities=identities,
    )


def verification_log(settings: Settings, name: str) -> VerificationLog:
    """What this host has read back of the repository `name`, and restored from it."""
    return FileVerificationLog(settings.state_directory / "proofs" / f"{name}.sqlite")
