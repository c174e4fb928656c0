"""Requests to a bucket of S3, signed as AWS describes it (Signature Version 4)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from holdfast.repositories.bucket_requests import BucketRequests
from holdfast.repositories.http_transport import Transport

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Keys:
    """What requests are signed with; never shown."""

    access_key: str
    secret_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return "S3Keys(***)"


def s3_requests(
    transport: Transport,
    bucket: str,
    *,
    region: str,
    keys: S3Keys,
    clock: Callable[[], datetime],
) -> BucketRequests:
    def sign(method: str, path: str, query: str, content: bytes) -> dict[str, str]:
        now, digest = clock(), hashlib.sha256(content).hexdigest()
        headers = {
            "host": transport.host,
            "x-amz-content-sha256": digest,
            "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
        }
        if keys.session_token:
            headers["x-amz-security-token"] = keys.session_token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = "\n".join((method, path, query, lines, names, digest))
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
