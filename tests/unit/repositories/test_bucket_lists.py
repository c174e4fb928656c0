"""Any answer of an S3 store is read without a traceback, in bounded time and memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from holdfast.model.errors import HoldfastError, RepositoryRefused, RepositoryUnreachable
from holdfast.repositories.buckets import Bucket
from holdfast.repositories.http_transport import MOST_BYTES
from holdfast.repositories.object_store import ObjectStoreRepository
from holdfast.repositories.s3 import S3Keys, s3_repository

PROXIES = [
    name
    for word in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for name in (word, word.upper())
]
Answering = Callable[[str], tuple[int, bytes]]


@contextmanager
def store_that(answers: Answering, *, endpoint: str = "") -> Iterator[ObjectStoreRepository]:
    """With its own `endpoint`, the proxy in front of it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        here = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.MonkeyPatch.context() as environment:
            for name in PROXIES:
                environment.delenv(name, raising=False)
            if endpoint:
                environment.setenv("http_proxy", here)
            yield s3_repository(
                Bucket(name="b", prefix="x", endpoint=endpoint or here),
                region="r",
                keys=S3Keys(access_key="a", secret_key="s"),
                clock=lambda: datetime.now(UTC),
            )
        server.shutdown()
        thread.join()


def page(*keys: str, more: str = "", size: str = "1") -> bytes:
    contents = "".join(f"<Contents><Key>{key}</Key><Size>{size}</Size></Contents>" for key in keys)
    told = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{more}</NextContinuationToken>"
    return f"<ListBucketResult>{contents}{told if more else ''}</ListBucketResult>".encode()


@pytest.mark.parametrize(
    "body",
    [
        b"no XML at all",
        b"<a>" * 100_000,
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"<ListBucketResult><Contents>",
        b"<a>" + b"x" * MOST_BYTES + b"</a>",
        page("x/job/1", more=""),
    ],
    ids=["text", "deep", "entities", "cut", "long", "good"],
)
def test_an_answer_that_is_none_is_an_error_of_the_store(body: bytes) -> None:
    with store_that(lambda _: (200, body)) as store:
        if body.startswith(b"<ListBucketResult><Contents><Key>"):
            assert [each.key for each in store.list("job")] == ["job/1"]
            return
        for act in (lambda: list(store.list("job")), lambda: store.sweep("job")):
            with pytest.raises(RepositoryUnreachable, match="its answer"):
                act()


def test_a_list_whose_pages_lead_to_themselves_ends() -> None:
    with store_that(lambda _: (200, page("x/job/1", more="again"))) as store:
        for act in (lambda: list(store.list("job")), lambda: store.sweep("job")):
            with pytest.raises(RepositoryUnreachable):
                act()


def test_a_list_that_turns_in_a_circle_ends() -> None:
    turn = iter(range(1 << 30))
    with (
        store_that(lambda _: (200, page("x/job/1", "x/job/2", more=f"{next(turn)}"))) as store,
        pytest.raises(RepositoryUnreachable, match="does not end"),
    ):
        list(store.list("job"))


@pytest.mark.parametrize("size", ["-5", "1e9", "", "x", "9" * 6000, "٣"])
def test_what_has_no_size_is_no_object(size: str) -> None:
    with store_that(lambda _: (200, page("x/job/1", size=size))) as store:
        assert list(store.list("job")) == []


def test_the_etag_of_an_object_is_its_version() -> None:
    body = page("x/job/1").replace(b"</Size>", b"</Size><ETag>&quot;abc-2&quot;</ETag>")
    with store_that(lambda _: (200, body)) as store:
        assert [each.version for each in store.list("job")] == ['"abc-2"']


def test_names_from_elsewhere_are_not_taken_for_ours() -> None:
    body = page("job/1", "x/job/../../etc", "x/job/2", "x/other/1", "y/job/1", "x/job")
    with store_that(lambda _: (200, body)) as store:
        assert [each.key for each in store.list("job")] == ["job/2"]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", RepositoryRefused),
        (404, "NoSuchBucket", RepositoryRefused),
        (400, "ExpiredToken", RepositoryRefused),
        (400, "RequestTimeout", RepositoryUnreachable),
        (503, "SlowDown", RepositoryUnreachable),
        (429, "", RepositoryUnreachable),
    ],
)
def test_a_refused_list_says_what_to_do(status: int, code: str, error: type[HoldfastError]) -> None:
    body = f"<Error><Code>{code}</Code><Message>said</Message></Error>".encode()
    with store_that(lambda _: (status, body)) as store, pytest.raises(error) as raised:
        list(store.list("job"))
    assert raised.value.hint


def test_a_list_goes_through_the_proxy_of_the_environment() -> None:
    asked: list[str] = []

    def answered(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return 200, page("x/job/1")

    with store_that(answered, endpoint="http://s3.invalid") as store:
        assert [each.key for each in store.list("job")] == ["job/1"]
    assert [each.partition("?")[0] for each in asked] == ["http://s3.invalid/b"]
