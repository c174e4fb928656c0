"""A bucket of Google Cloud Storage, and the tokens that authorize our own requests to it.

A service account signs such tokens itself (AIP-4111). obstore makes them too, but returns none.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from obstore.store import GCSStore

from holdfast.model.stored_json import parsed
from holdfast.repositories.bucket_lists import BucketRequests
from holdfast.repositories.buckets import RETRIES, Bucket, connection_to

if TYPE_CHECKING:
    from obstore.store import GCSConfig

    from holdfast.repositories.object_store import ObjectStoreRepository

GOOGLE = "https://storage.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LIFETIME = timedelta(hours=1)
# Clocks differ, and a request takes time.
RENEW_BEFORE = timedelta(minutes=5)


def gcs_repository(
    bucket: Bucket, *, service_account_key: str, token: Callable[[], str] | None = None
) -> ObjectStoreRepository:
    """Without a key, it uses the machine's own account; `token` returns a token for that key."""
    config: GCSConfig = {}
    if service_account_key:
        config["service_account_key"] = service_account_key
    if bucket.endpoint:
        config["base_url"] = bucket.endpoint
    connection = connection_to(bucket, bucket.endpoint or GOOGLE, name=f"gs://{bucket.name}")
    with connection.login(hint="service_account must be the JSON key file from Google's console"):
        store = GCSStore(
            bucket.name,
            prefix=bucket.prefix or None,
            client_options=connection.client,
            retry_config=RETRIES,
            config=config,
        )
    requests = None
    if token:
        requests = BucketRequests(
            connection.transport(),
            bucket.name,
            sign=lambda _: {"authorization": f"Bearer {token()}"},
        )
    return connection.repository(store, requests)


class GoogleTokens:
    """Tokens of the service account with the JSON key `account`; each is reused until it is old."""

    def __init__(self, account: str, clock: Callable[[], datetime]) -> None:
        self._account = account
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._ends: datetime | None = None

    def __call__(self) -> str:
        """A valid token, from any thread; raises `ValueError` if the key cannot be used."""
        with self._lock:
            now = self._clock()
            if self._ends is None or now >= self._ends - RENEW_BEFORE:
                self._token, self._ends = _signed(self._account, now), now + LIFETIME
            return self._token


def _signed(account: str, now: datetime) -> str:
    # Imported here: loading it would slow down short commands.
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    fields = parsed(account)
    key = serialization.load_pem_private_key(fields["private_key"].encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("a service account has an RSA key")
    begins, email = int(now.timestamp()), fields["client_email"]
    ends = begins + int(LIFETIME.total_seconds())
    head = {"typ": "JWT", "alg": "RS256", "kid": fields["private_key_id"]}
    claims = {"iss": email, "sub": email, "scope": SCOPE, "iat": begins, "exp": ends}
    text = f"{_part(json.dumps(head).encode())}.{_part(json.dumps(claims).encode())}"
    return f"{text}.{_part(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
