"""Requests to a bucket of Google, which answers as S3 does, with a token for each of them."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.repositories.bucket_requests import BucketRequests
from holdfast.repositories.http_transport import Transport

GOOGLE = "https://storage.googleapis.com"


def gcs_requests(transport: Transport, bucket: str, *, token: Callable[[], str]) -> BucketRequests:
    return BucketRequests(transport, bucket, sign=lambda *_: {"authorization": f"Bearer {token()}"})
