"""A bucket of S3 or a compatible store: obstore's store, and requests that we sign ourselves."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from obstore.store import S3Store

from holdfast.model.lazy_dataclass import dataclass
from holdfast.repositories.bucket_lists import BucketRequests, Request
from holdfast.repositories.buckets import RETRIES, Bucket, connection_to

if TYPE_CHECKING:
    from obstore.store import S3Config

    from holdfast.repositories.http_transport import Transport
    from holdfast.repositories.object_store import ObjectStoreRepository

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Keys:
    """The keys that sign requests; never shown."""

    access_key: str
    secret_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return "S3Keys(***)"


def s3_repository(
    bucket: Bucket,
    *,
    region: str,
    keys: S3Keys | None,
    clock: Callable[[], datetime],
    sends_checksums: bool = False,
) -> ObjectStoreRepository:
    """Without `keys`, obstore looks for them in the environment and on the machine (roles of
    instances, containers and web identities)."""
    address = bucket.endpoint or f"https://s3.{region}.amazonaws.com"
    config: S3Config = {
        "endpoint": address,
        "region": region,
        "disable_bulk_delete": True,  # not every store supports it, and deletes here are few
    }
    if sends_checksums:
        config["checksum_algorithm"] = "SHA256"
    if keys:
        config.update(_config_of(keys))
    connection = connection_to(bucket, address, name=f"s3://{bucket.name}")
    with connection.login(
        hint="ca_file must hold complete certificates in PEM; else correct 'endpoint'"
    ):
        store = S3Store(
            bucket.name,
            prefix=bucket.prefix or None,
            client_options=connection.client,
            retry_config=RETRIES,
            config=config,
        )
    requests = None
    if keys:
        requests = s3_requests(
            connection.transport(), bucket.name, region=region, keys=keys, clock=clock
        )
    return connection.repository(store, requests)


def _config_of(keys: S3Keys) -> S3Config:
    config: S3Config = {
        "access_key_id": keys.access_key,
        "secret_access_key": keys.secret_key,
    }
    if keys.session_token:
        config["session_token"] = keys.session_token
    return config


def s3_requests(
    transport: Transport,
    bucket: str,
    *,
    region: str,
    keys: S3Keys,
    clock: Callable[[], datetime],
) -> BucketRequests:
    """Requests to the bucket, signed by AWS Signature Version 4."""

    def sign(asked: Request) -> dict[str, str]:
        now, digest = clock(), hashlib.sha256(asked.content).hexdigest()
        headers = {
            "host": transport.host,
            "x-amz-content-sha256": digest,
            "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
        }
        if keys.session_token:
            headers["x-amz-security-token"] = keys.session_token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = "\n".join((asked.method, asked.path, asked.query, lines, names, digest))
        scope = f"{now:%Y%m%d}/{region}/s3/aws4_request"
        signature = _signature(headers["x-amz-date"], request, scope=scope, keys=keys)
        told = f"Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        return headers | {"authorization": f"{_ALGORITHM} {told}"}

    return BucketRequests(transport, bucket, sign=sign)


def _signature(moment: str, request: str, *, scope: str, keys: S3Keys) -> str:
    key = f"AWS4{keys.secret_key}".encode()
    for step in scope.split("/"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join((_ALGORITHM, moment, scope, digest))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
