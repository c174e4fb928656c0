"""Buckets of each provider as repositories; nothing is connected before the first request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from holdfast.model.errors import ConfigInvalid
from holdfast.repositories.azure_requests import ContainerRequests, by_key, by_token
from holdfast.repositories.connection_options import REQUEST_TIMEOUT, connection_options
from holdfast.repositories.gcs_requests import GOOGLE, gcs_requests
from holdfast.repositories.object_store import ObjectStoreRepository
from holdfast.repositories.own_lists import OwnLists
from holdfast.repositories.part_sizes import PART_BYTES
from holdfast.repositories.s3_requests import S3Keys, s3_requests

if TYPE_CHECKING:
    from obstore.store import AzureConfig, GCSConfig, RetryConfig, S3Config

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
    containers and web identities). Without keys in hand, here and elsewhere, unfinished uploads are
    left to the bucket's own rules, and a list that holds an impossible name is refused.
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
    name = f"s3://{bucket}/{prefix}".rstrip("/")
    connection = connection_options(address, ca_file, request_timeout)
    with _login(name, hint="ca_file holds certificates in PEM, each whole; mend 'endpoint'"):
        store = S3Store(
            bucket,
            prefix=prefix or None,
            client_options=connection.client,
            retry_config=RETRIES,
            config=config,
        )
    lists = None
    if keys:
        requests = s3_requests(
            connection.transport(), bucket, region=region, keys=keys, clock=clock
        )
        lists = OwnLists(requests, prefix=prefix, name=name)
    return ObjectStoreRepository(
        store, name=name, lists=lists, tunnel=connection.tunnel, part_bytes=part_bytes
    )


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
    token: Callable[[], str] | None = None,
    endpoint: str = "",
    ca_file: Path | None = None,
    request_timeout: timedelta = REQUEST_TIMEOUT,
    part_bytes: int = PART_BYTES,
) -> ObjectStoreRepository:
    """A bucket of Google Cloud Storage; without a key the machine's own account is used.

    `token` gives what logs in with that key.
    """
    config: GCSConfig = {}
    if service_account_key:
        config["service_account_key"] = service_account_key
    if endpoint:
        config["base_url"] = endpoint
    name = f"gs://{bucket}/{prefix}".rstrip("/")
    connection = connection_options(endpoint or GOOGLE, ca_file, request_timeout)
    with _login(name, hint="service_account is the JSON of a key as Google's console gives it"):
        store = GCSStore(
            bucket,
            prefix=prefix or None,
            client_options=connection.client,
            retry_config=RETRIES,
            config=config,
        )
    lists = None
    if token:
        requests = gcs_requests(connection.transport(), bucket, token=token)
        lists = OwnLists(requests, prefix=prefix, name=name)
    return ObjectStoreRepository(
        store, name=name, lists=lists, tunnel=connection.tunnel, part_bytes=part_bytes
    )


def azure_repository(
    *,
    account: str,
    container: str,
    prefix: str,
    account_key: str,
    sas_token: str,
    clock: Callable[[], datetime],
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
    address = endpoint or f"https://{account}.blob.core.windows.net"
    connection = connection_options(address, ca_file, request_timeout)
    with _login(name, hint="account_key is Base64, sas_token like sv=...&sig=... without more"):
        store = AzureStore(
            container,
            prefix=prefix or None,
            client_options=connection.client,
            retry_config=RETRIES,
            config=config,
        )
    lists = None
    if account_key or sas_token:
        login = by_token(sas_token) if sas_token else by_key(account, account_key, clock=clock)
        requests = ContainerRequests(connection.transport(), container, login=login)
        lists = OwnLists(requests, prefix=prefix, name=name)
    return ObjectStoreRepository(
        store, name=name, lists=lists, tunnel=connection.tunnel, part_bytes=part_bytes
    )


@contextmanager
def _login(name: str, *, hint: str) -> Iterator[None]:
    """A key that cannot be read at all; `from None`, as obstore's own words may hold some of it."""
    try:
        yield
    except BaseError as error:
        cause = str(error).partition("\n")[0].rpartition("error: ")[2]
        raise ConfigInvalid(f"cannot log in to '{name}': {cause}", hint=hint) from None
