"""Build repositories from the settings, found by their own name or by that of a job.

Each function imports the driver that it needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from holdfast.config.document import did_you_mean
from holdfast.config.repositories import (
    AzureSettings,
    BucketSettings,
    GcsSettings,
    LocalSettings,
    RepositorySettings,
    S3Settings,
    SftpSettings,
    Transfers,
)
from holdfast.config.secret import SecretSource, secret_of
from holdfast.model.errors import ConfigInvalid, UnknownJob
from holdfast.repositories.local import LocalRepository
from holdfast.runtime.clock import now

if TYPE_CHECKING:
    from holdfast.config.settings import JobSettings, Settings
    from holdfast.ports.repository import Repository
    from holdfast.repositories.buckets import Bucket
    from holdfast.repositories.s3 import S3Keys

LOCAL_UPLOADS = 4
AWS_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def repository(settings: RepositorySettings, *, signed: bool = True) -> Repository:
    """The repository of `settings`; opens no connection. Raises `ConfigInvalid`.

    Manifests are signed and verified if the settings ask for that. Without `signed` they are not:
    for leases, which have no signature, and for copies, which pass bytes through unaltered.
    """
    made = REPOSITORIES[type(settings)](settings)
    if isinstance(settings, Transfers):
        from holdfast.repositories.network import RetryingRepository, ThrottledRepository

        if settings.upload_rate is not None:
            from holdfast.limits.throttle import Throttle

            made = ThrottledRepository(made, Throttle(bytes_per_second=settings.upload_rate).spend)
        made = RetryingRepository(made)
    if signed and settings.authentication is not None:
        from holdfast.wiring.keys import signed_manifests

        made = signed_manifests(made, settings.authentication)
    return made


def job_settings(settings: Settings, name: str) -> JobSettings:
    """The job `name`; raises `UnknownJob`, with the most similar name as a hint."""
    if name not in settings.jobs:
        raise unknown_job(settings, name)
    return settings.jobs[name]


def store_name(settings: Settings, job: str, *, chosen: str = "") -> str:
    """The name of the repository of `job`, or the one `chosen`.

    For a job that is no longer configured, it is the only repository, if there is just one. Raises
    `UnknownJob`.
    """
    if chosen:
        return chosen
    if job not in settings.jobs and len(settings.repositories) == 1:
        (only,) = settings.repositories
        return only
    return job_settings(settings, job).repository


def repository_settings(settings: Settings, name: str) -> RepositorySettings:
    """The repository `name`; raises `ConfigInvalid`, with the most similar name as a hint."""
    if name not in settings.repositories:
        raise unknown_repository(settings, name)
    return settings.repositories[name]


def unknown_job(settings: Settings, name: str) -> UnknownJob:
    return UnknownJob(
        f"cannot find job '{name}': it is not configured",
        hint=did_you_mean(name, settings.jobs) or "add it to the configuration",
    )


def unknown_repository(settings: Settings, name: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"cannot find repository '{name}': it is not configured",
        hint=did_you_mean(name, settings.repositories),
    )


def uploads_at_once(settings: RepositorySettings) -> int:
    """How many small objects may be uploaded to it at the same time."""
    return settings.upload_concurrency if isinstance(settings, Transfers) else LOCAL_UPLOADS


def _bucket(settings: BucketSettings, name: str) -> Bucket:
    from holdfast.repositories.buckets import Bucket

    return Bucket(
        name=name,
        prefix=settings.prefix,
        endpoint=settings.endpoint,
        ca_file=settings.authorities(),
        request_timeout=settings.request_timeout,
        part_bytes=settings.part_size,
    )


def _s3(settings: S3Settings) -> Repository:
    from holdfast.repositories.s3 import s3_repository

    return s3_repository(
        _bucket(settings, settings.bucket),
        region=settings.region,
        keys=_s3_keys(settings),
        clock=now,
        sends_checksums=settings.send_checksums,
    )


def _s3_keys(settings: S3Settings) -> S3Keys | None:
    """The keys of the configuration, else of AWS's own variables; None leaves it to IAM roles."""
    from holdfast.repositories.s3 import S3Keys

    if settings.access_key is not None:
        return S3Keys(
            access_key=_revealed(settings.access_key, "access_key"),
            secret_key=_revealed(settings.secret_key, "secret_key"),
            session_token=_revealed(settings.session_token, "session_token"),
        )
    access_key, secret_key, session_token = (os.environ.get(name, "") for name in AWS_VARIABLES)
    if not access_key:
        return None
    return S3Keys(access_key=access_key, secret_key=secret_key, session_token=session_token)


def _gcs(settings: GcsSettings) -> Repository:
    from holdfast.repositories.gcs import GoogleTokens, gcs_repository

    account = _revealed(settings.service_account, "service_account")
    return gcs_repository(
        _bucket(settings, settings.bucket),
        service_account_key=account,
        token=GoogleTokens(account, now) if account else None,
    )


def _azure(settings: AzureSettings) -> Repository:
    from holdfast.repositories.azure import azure_repository

    return azure_repository(
        _bucket(settings, settings.container),
        account=settings.account,
        account_key=_revealed(settings.account_key, "account_key"),
        sas_token=_revealed(settings.sas_token, "sas_token"),
        clock=now,
    )


def _sftp(settings: SftpSettings) -> Repository:
    from holdfast.repositories.sftp import SftpRepository
    from holdfast.repositories.sftp_connections import SshLogin

    login = SshLogin(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        host_keys=settings.host_keys,
        known_hosts=settings.known_hosts,
        private_key=_revealed(settings.private_key, "private_key"),
        passphrase=_revealed(settings.passphrase, "passphrase"),
        password=_revealed(settings.password, "password"),
        timeout=settings.request_timeout,
    )
    return SftpRepository(login, root=str(settings.path))


def _revealed(source: SecretSource | None, what: str) -> str:
    secret = secret_of(source, what)
    return secret.reveal() if secret else ""


# Each constructor takes the type that is its key; a dictionary's type cannot express that.
REPOSITORIES: dict[type, Callable[[Any], Repository]] = {
    LocalSettings: lambda settings: LocalRepository(settings.path),
    S3Settings: _s3,
    GcsSettings: _gcs,
    AzureSettings: _azure,
    SftpSettings: _sftp,
}
