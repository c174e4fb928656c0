"""Buckets of any cloud: how to connect to each, and how it becomes a repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from obstore.exceptions import BaseError

from holdfast.model.errors import ConfigInvalid
from holdfast.model.lazy_dataclass import dataclass
from holdfast.repositories.bucket_lists import BucketLists, Requests
from holdfast.repositories.http_transport import Transport, proxy_to
from holdfast.repositories.object_errors import TlsFault, no_fault
from holdfast.repositories.object_store import PART_BYTES, ObjectStoreRepository

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

    from holdfast.repositories.tls_relay import TlsRelay

CONNECT_TIMEOUT = timedelta(seconds=10)
REQUEST_TIMEOUT = timedelta(minutes=5)
HTTPS = 443
# The caller cannot send a part again: these few retries happen within one put or get.
RETRIES: RetryConfig = {
    "max_retries": 3,
    "retry_timeout": timedelta(minutes=3),
    "backoff": {
        "init_backoff": timedelta(milliseconds=200),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket or container of any cloud, with the settings that all clouds share.

    `endpoint` is empty for the provider's own address. `ca_file` holds the certificate authorities
    to trust there. `request_timeout` is how long the store may be silent.
    """

    name: str
    prefix: str = ""
    endpoint: str = ""
    ca_file: Path | None = None
    request_timeout: timedelta = REQUEST_TIMEOUT
    part_bytes: int = PART_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The connection settings of `bucket` at `endpoint`, called `name` in messages.

    `client` are options for obstore. `tunnel` returns the last TLS fault of our relay, if
    connections go through one.
    """

    bucket: Bucket
    name: str
    endpoint: str
    client: ClientConfig
    tunnel: Callable[[], TlsFault | None] = no_fault

    def transport(self) -> Transport:
        """The transport for requests that obstore does not offer."""
        from holdfast.repositories.tls_relay import trusting

        ca_file = self.bucket.ca_file
        return Transport(
            self.endpoint,
            tls=trusting(ca_file) if ca_file else None,
            timeout_seconds=self.bucket.request_timeout.total_seconds(),
        )

    @contextmanager
    def login(self, *, hint: str) -> Iterator[None]:
        """Raises `ConfigInvalid` for an unreadable key; `from None`, as the text of obstore may
        quote the key."""
        try:
            yield
        except BaseError as error:
            cause = str(error).partition("\n")[0].rpartition("error: ")[2]
            raise ConfigInvalid(f"cannot log in to '{self.name}': {cause}", hint=hint) from None

    def repository(self, store: ObjectStore, requests: Requests | None) -> ObjectStoreRepository:
        """The repository; give `requests` if keys are available to sign them.

        Without them, unfinished uploads are left to the bucket's lifecycle rules, and a list that
        contains an invalid name is refused.
        """
        lists = None
        if requests is not None:
            lists = BucketLists(requests, prefix=self.bucket.prefix, name=self.name)
        return ObjectStoreRepository(
            store,
            name=self.name,
            lists=lists,
            tunnel=self.tunnel,
            part_bytes=self.bucket.part_bytes,
        )


def connection_to(bucket: Bucket, endpoint: str, *, name: str) -> Connection:
    """Settings only: nothing connects before the first request; `name` lacks the prefix."""
    ca_file = bucket.ca_file
    client, tunnel = _client(endpoint, bucket.request_timeout), no_fault
    if ca_file is not None and _needs_tunnel(urlsplit(endpoint), ca_file):
        relay = _relay(urlsplit(endpoint), ca_file)
        client["root_certificate"] = relay.certificate
        client["proxy_url"] = f"http://127.0.0.1:{relay.port}"
        tunnel = relay.fault
    elif ca_file is not None:
        client["root_certificate"] = ca_file.read_bytes()
    return Connection(
        bucket=bucket,
        name=f"{name}/{bucket.prefix}".rstrip("/"),
        endpoint=endpoint,
        client=client,
        tunnel=tunnel,
    )


def _client(endpoint: str, timeout: timedelta) -> ClientConfig:
    """Options of obstore: only silence is limited, as a limit on a request would end long reads."""
    return {
        "connect_timeout": CONNECT_TIMEOUT,
        "timeout": timedelta(days=7),
        "read_timeout": timeout,
        "allow_http": endpoint.startswith("http://"),
    }


def _needs_tunnel(url: SplitResult, ca_file: Path) -> bool:
    """Whether to use our relay; not behind a proxy of the environment, as obstore has one proxy."""
    # Imported here: few stores have their own certificate.
    from holdfast.repositories.tls_relay import is_server_and_authority

    host = url.hostname or ""
    return url.scheme == "https" and not proxy_to(url) and is_server_and_authority(ca_file, host)


def _relay(url: SplitResult, ca_file: Path) -> TlsRelay:
    from holdfast.repositories.tls_relay import TlsRelay

    seconds = CONNECT_TIMEOUT.total_seconds()
    return TlsRelay(url.hostname or "", url.port or HTTPS, ca_file, connect_seconds=seconds)
