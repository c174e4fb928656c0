"""Unreadable logins are reported without their secret; locked buckets get checksums."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import md5, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from holdfast.model.errors import ConfigInvalid
from holdfast.repositories.azure import azure_repository
from holdfast.repositories.buckets import Bucket
from holdfast.repositories.gcs import gcs_repository
from holdfast.repositories.s3 import S3Keys, s3_repository


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (
            lambda: gcs_repository(Bucket(name="b"), service_account_key="SECRET"),
            "Google's console",
        ),
        (
            lambda: gcs_repository(
                Bucket(name="b"),
                service_account_key='{"private_key": "SECRET", "private_key_id": "1",'
                ' "client_email": "a@b"}',
            ),
            "Google's console",
        ),
        (
            lambda: azure_repository(
                Bucket(name="c"),
                account="a",
                account_key="SECRET !",
                sas_token="",
                clock=now,
            ),
            "Base64",
        ),
        (
            lambda: azure_repository(
                Bucket(name="c"), account="a", account_key="", sas_token="SECRET", clock=now
            ),
            "sas_token",
        ),
    ],
    ids=["no JSON", "no PEM", "no Base64", "no token"],
)
def test_a_login_that_cannot_be_read_is_told_and_not_shown(
    make: Callable[[], object], hint: str
) -> None:
    with pytest.raises(ConfigInvalid, match="cannot log in to '") as raised:
        make()
    assert hint in raised.value.hint
    assert "SECRET" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("sends_checksums", [False, True])
def test_a_bucket_with_object_lock_is_told_the_checksum_of_each_put(
    *, sends_checksums: bool
) -> None:
    told: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            told.append(self.headers["x-amz-checksum-sha256"])
            self.send_response(200)
            self.send_header("ETag", f'"{md5(content, usedforsecurity=False).hexdigest()}"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        store = s3_repository(
            Bucket(name="b", endpoint=f"http://127.0.0.1:{server.server_address[1]}"),
            region="r",
            keys=S3Keys(access_key="a", secret_key="s"),
            clock=now,
            sends_checksums=sends_checksums,
        )
        store.put("job/x", [b"content"])
        server.shutdown()
        thread.join()
    expected = b64encode(sha256(b"content").digest()).decode()
    assert told == [expected if sends_checksums else None]
