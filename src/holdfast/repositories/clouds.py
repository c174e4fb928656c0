"""Buckets of each provider as repositories; nothing is connected before the first request."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from holdfast.errors import ConfigInvalid, RepositoryRefused, RepositoryUnreachable
from holdfast.repositories.object_errors import REMEDIES
from holdfast.repositories.object_store import ObjectStoreRepository
from holdfast.repositories.part_sizes import PART_BYTES
from holdfast.repositories.s3_requests import S3Keys, S3Refused, S3Requests

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config

CONNECT_TIMEOUT = timedelta(seconds=10)
REQUEST_TIMEOUT = timedelta(minutes=5)
_REFUSALS = (400, 401, 403, 404)
_LATER = ("RequestTimeout", "SlowDown")
# A part cannot be sent again from outside: these few tries are inside one put or get.
RETRIES: RetryConfig = {
    "max_retries": 3,
    "retry_timeout": timedelta(minutes=3),
    "backoff": {
        "init_backoff": timedelta(milliseconds=200),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}


def s3_repository(
    *,
    bucket: str,
    prefix: str,
    region: str,
    endpoint: str,
    keys: S3Keys | None,
    clock: Callable[[], datetime],
    ca_file: Path | None = None,
    sends_checksums: bool = False,
    request_timeout: timedelta = REQUEST_TIMEOUT,
    part_bytes: int = PART_BYTES,
) -> ObjectStoreRepository:
    """A bucket of S3 or of what speaks its language at `endpoint`.

    Without `keys` they are looked for in the environment and on the machine (roles of instances,
    containers and web identities); unfinished uploads are then left to the bucket's own rules.
    """
    address = endpoint or f"https://s3.{region}.amazonaws.com"
    config: S3Config = {
        "endpoint": address,
        "region": region,
        "disable_bulk_delete": True,  # not every store knows it, and deletes here are few
    }
    if sends_checksums:
        config["checksum_algorithm"] = "SHA256"
    if keys:
        config.update(_config_of(keys))
    store = S3Store(
        bucket,
        prefix=prefix or None,
        client_options=_client(address, ca_file, request_timeout),
        retry_config=RETRIES,
        config=config,
    )
    name = f"s3://{bucket}/{prefix}".rstrip("/")
    lists = None
    if keys:
        requests = S3Requests(
            endpoint=address,
            bucket=bucket,
            region=region,
            keys=keys,
            clock=clock,
            tls=ssl.create_default_context(cafile=ca_file) if ca_file else None,
            timeout_seconds=request_timeout.total_seconds(),
        )
        lists = S3Lists(requests, prefix=prefix, name=name)
    return ObjectStoreRepository(store, name=name, lists=lists, part_bytes=part_bytes)


def _config_of(keys: S3Keys) -> S3Config:
    config: S3Config = {
        "access_key_id": keys.access_key,
        "secret_access_key": keys.secret_key,
    }
    if keys.session_token:
        config["session_token"] = keys.session_token
    return config


def gcs_repository(
    *,
    bucket: str,
    prefix: str,
    service_account_key: str,
    endpoint: str = "",
    ca_file: Path | None = None,
    request_timeout: timedelta = REQUEST_TIMEOUT,
    part_bytes: int = PART_BYTES,
) -> ObjectStoreRepository:
    """A bucket of Google Cloud Storage; without a key the machine's own account is used."""
    config: GCSConfig = {}
    if service_account_key:
        config["service_account_key"] = service_account_key
    if endpoint:
        config["base_url"] = endpoint
    name = f"gs://{bucket}/{prefix}".rstrip("/")
    with _login(name, hint="service_account is the JSON of a key as Google's console gives it"):
        store = GCSStore(
            bucket,
            prefix=prefix or None,
            client_options=_client(endpoint, ca_file, request_timeout),
            retry_config=RETRIES,
            config=config,
        )
    return ObjectStoreRepository(store, name=name, part_bytes=part_bytes)


def azure_repository(
    *,
    account: str,
    container: str,
    prefix: str,
    account_key: str,
    sas_token: str,
    endpoint: str = "",
    ca_file: Path | None = None,
    request_timeout: timedelta = REQUEST_TIMEOUT,
    part_bytes: int = PART_BYTES,
) -> ObjectStoreRepository:
    """A container of Azure Blob Storage; without key and token the machine's identity is used."""
    config: AzureConfig = {"account_name": account}
    if account_key:
        config["account_key"] = account_key
    if sas_token:
        config["sas_key"] = sas_token
    if endpoint:
        config["endpoint"] = endpoint
    name = f"azure://{account}/{container}/{prefix}".rstrip("/")
    with _login(name, hint="account_key is Base64, sas_token like sv=...&sig=... without more"):
        store = AzureStore(
            container,
            prefix=prefix or None,
            client_options=_client(endpoint, ca_file, request_timeout),
            retry_config=RETRIES,
            config=config,
        )
    return ObjectStoreRepository(store, name=name, part_bytes=part_bytes)


@contextmanager
def _login(name: str, *, hint: str) -> Iterator[None]:
    """A key that cannot be read at all; `from None`, as obstore's own words may hold some of it."""
    try:
        yield
    except BaseError as error:
        cause = str(error).partition("\n")[0].rpartition("error: ")[2]
        raise ConfigInvalid(f"cannot log in to '{name}': {cause}", hint=hint) from None


class S3Lists:
    """Obeys `object_store.Lists`."""

    def __init__(self, requests: S3Requests, *, prefix: str, name: str) -> None:
        self._requests = requests
        self._prefix = prefix.strip("/")
        self._name = name

    def objects_below(self, prefix: str) -> Iterator[tuple[str, int]]:
        beginning = f"{self._prefix}/" if self._prefix else ""
        found = self._requests.objects(self._below(prefix))
        while True:
            with self._told(f"list '{prefix}'", rights="s3:ListBucket"):
                each = next(found, None)
            if each is None:
                return
            key, size_bytes = each
            is_ours = key.startswith(beginning)
            # No key begins with a slash.
            yield key.removeprefix(beginning) if is_ours else f"/{key}", size_bytes

    def abort_below(self, prefix: str) -> int:
        rights = "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload"
        with self._told("end unfinished uploads", rights=rights):
            found = list(self._requests.unfinished(self._below(prefix)))
            for upload in found:
                self._requests.abort(upload)
        return len(found)

    def _below(self, prefix: str) -> str:
        return "".join(f"{part}/" for part in (self._prefix, prefix) if part)

    @contextmanager
    def _told(self, verb: str, *, rights: str) -> Iterator[None]:
        try:
            yield
        except S3Refused as error:
            what = f"cannot {verb} in '{self._name}': {error}"
            if error.code not in _LATER and (error.status in _REFUSALS or error.code in REMEDIES):
                hint = REMEDIES.get(error.code, f"grant {rights}")
                raise RepositoryRefused(what, hint=hint) from error
            raise RepositoryUnreachable(what, hint="trying later may work") from error
        except (OSError, HTTPException) as error:
            raise RepositoryUnreachable(
                f"cannot {verb} in '{self._name}': {error}",
                hint="is the endpoint right, and does it answer?",
            ) from error


def _client(endpoint: str, ca_file: Path | None, request_timeout: timedelta) -> ClientConfig:
    """No limit for a request as a whole, which would end long reads: only for its silence."""
    client: ClientConfig = {
        "connect_timeout": CONNECT_TIMEOUT,
        "timeout": timedelta(days=7),
        "read_timeout": request_timeout,
        "allow_http": endpoint.startswith("http://"),
    }
    if ca_file:
        client["root_certificate"] = ca_file.read_bytes()
    return client
