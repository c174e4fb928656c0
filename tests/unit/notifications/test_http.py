"""One request against real servers: what is followed, what is refused, and what is never said."""

from __future__ import annotations

import ssl
import time
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from holdfast.model.errors import NotificationFailed
from holdfast.notifications import http
from holdfast.notifications.http import Door, Request, post
from tests.support.receivers import Listener, closed_port, dripping, endless, listening, status
from tests.unit.repositories.test_tls_faults import Made, made

DOOR = Door(timeout_seconds=20)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


def request(url: str) -> Request:
    return Request(url=url, body=b"{}", headers={"Content-Type": "application/json"})


def refused(url: str, door: Door = DOOR) -> str:
    with pytest.raises(NotificationFailed) as caught:
        post(request(url), door)
    assert "hunter2" not in caught.value.message + caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("code", [200, 201, 202, 204])
def test_any_success_is_enough(listener: Listener, code: int) -> None:
    listener.answers = [status(code)]
    post(request(listener.url()), DOOR)
    assert len(listener.told) == 1


def test_a_server_error_is_tried_once_more_and_a_refusal_is_not(listener: Listener) -> None:
    listener.answers = [status(503)]
    post(request(listener.url()), DOOR)
    assert len(listener.told) == 2
    listener.told.clear()
    listener.answers = [status(500), status(500)]
    assert refused(listener.url()).endswith("it answered 500")
    assert len(listener.told) == 2
    listener.told.clear()
    listener.answers = [status(403)]
    assert refused(listener.url()).endswith("it answered 403")
    assert len(listener.told) == 1


def test_a_redirect_on_the_same_server_is_followed_with_the_same_body(listener: Listener) -> None:
    listener.answers = [status(307, Location="/hunter2/new")]
    post(request(listener.url()), DOOR)
    assert listener.paths[-1] == "/hunter2/new"
    assert listener.told[-1].body == b"{}"


def test_a_redirect_to_another_server_is_not_followed(listener: Listener) -> None:
    with listening() as other:
        for location in (other.url("/taken"), other.url("/taken").replace("http:", "")):
            listener.answers = [status(302, Location=location)]
            assert "redirects to another address" in refused(listener.url())
        assert other.told == []


def test_redirects_in_a_circle_end(listener: Listener) -> None:
    listener.always(status(308, Location="/again"))
    assert "redirected more than 3 times" in refused(listener.url())
    assert len(listener.told) == 4


def test_a_server_that_never_answers_is_given_up_in_time(listener: Listener) -> None:
    listener.answers = [listener.hang]
    assert "no answer within 0.3 s" in refused(listener.url(), Door(timeout_seconds=0.3))


def test_of_an_endless_body_only_the_beginning_is_read(listener: Listener) -> None:
    listener.answers = [endless]
    tracemalloc.start()
    post(request(listener.url()), DOOR)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 8 << 20


@pytest.mark.parametrize(
    ("beginning", "drop"),
    [
        (b"HTTP/1.1 2", b"0"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["status", "header", "interim"],
)
def test_an_answer_that_drips_is_given_up_in_time(
    listener: Listener, beginning: bytes, drop: bytes
) -> None:
    """Each drop comes long before the timeout of the socket."""
    listener.always(dripping(beginning, drop=drop))
    assert "no answer within 0.4 s" in refused(listener.url(), Door(timeout_seconds=0.4))
    assert len(listener.told) == 1


def test_a_success_counts_although_its_body_drips(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.1)
    listener.always(dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", drop=b"x"))
    post(request(listener.url()), DOOR)
    assert len(listener.told) == 1


def test_a_success_counts_although_its_body_never_comes(listener: Listener) -> None:
    def stalled(answer: BaseHTTPRequestHandler) -> None:
        answer.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n")
        listener.hang(answer)

    listener.answers = [stalled]
    began = time.monotonic()
    post(request(listener.url()), DOOR)
    assert time.monotonic() - began < DOOR.timeout_seconds / 2


def test_an_answer_that_stops_half_way_is_given_up_in_time(listener: Listener) -> None:
    """The silence begins after most of the time has passed, and would have all of it again."""
    door = Door(timeout_seconds=3)

    def stopping(answer: BaseHTTPRequestHandler) -> None:
        answer.wfile.write(b"HTTP/1.1 200 OK\r\n")
        began = time.monotonic()
        while time.monotonic() < began + 0.8 * door.timeout_seconds:
            answer.wfile.write(b"X: y\r\n")
            listener.released.wait(0.1)
        listener.hang(answer)

    listener.answers = [stopping]
    began = time.monotonic()
    assert "no answer within 3 s" in refused(listener.url(), door)
    assert time.monotonic() - began < 1.5 * door.timeout_seconds


def test_a_success_counts_although_its_body_ends_early(listener: Listener) -> None:
    def cut(answer: BaseHTTPRequestHandler) -> None:
        answer.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz")
        answer.close_connection = True

    listener.answers = [cut]
    post(request(listener.url()), DOOR)
    assert len(listener.told) == 1


@pytest.mark.parametrize(
    "lines", [b"X: " + b"x" * (1 << 20), b"X: y\r\n" * 100_000], ids=["long", "many"]
)
def test_giant_headers_are_refused_without_reading_them(listener: Listener, lines: bytes) -> None:
    def giant(answer: BaseHTTPRequestHandler) -> None:
        answer.wfile.write(b"HTTP/1.1 200 OK\r\n" + lines)

    listener.always(giant)
    tracemalloc.start()
    cause = refused(listener.url())
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert cause.startswith("cannot notify '127.0.0.1': ")
    assert peak_bytes < 8 << 20


def test_nobody_listens_and_no_such_name() -> None:
    assert "Connection refused" in refused(f"http://127.0.0.1:{closed_port()}/hunter2")
    assert "does not resolve" in refused("https://no-such-host.invalid/hunter2")


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("ftp://127.0.0.1/hunter2", "its URL is not an address"),
        ("http://[::1/hunter2", "its URL is not an address"),
        ("https://127.0.0.1/hunter2\r\nX: y", "its URL is not an address"),
        ("http://192.0.2.1/hunter2", "in the clear"),
    ],
)
def test_what_is_no_safe_address_is_refused_before_anything_is_sent(url: str, cause: str) -> None:
    assert cause in refused(url)


def test_a_login_in_the_url_is_sent_as_one(listener: Listener) -> None:
    post(request(listener.url().replace("://", "://eve:hunter2@")), DOOR)
    assert listener.told[0].headers["Authorization"] == "Basic ZXZlOmh1bnRlcjI="


@pytest.fixture
def signer(tmp_path: Path) -> Made:
    return made(tmp_path, "authority", names=(), authority=True)


def secured(own: Made) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.file, own.key_file)
    return context


def test_a_certificate_of_the_given_authority_is_believed(tmp_path: Path, signer: Made) -> None:
    with listening(secured(made(tmp_path, "server", by=signer))) as listener:
        post(request(listener.url()), Door(timeout_seconds=20, ca_file=signer.file))
        assert len(listener.told) == 1


@pytest.mark.parametrize("fault", ["unknown", "name", "expired"])
def test_a_wrong_certificate_is_refused_and_nothing_is_sent(
    tmp_path: Path, signer: Made, fault: str
) -> None:
    names = ("elsewhere.example.net",) if fault == "name" else ("localhost", "127.0.0.1")
    days = (-9, -1) if fault == "expired" else (-1, 9)
    own = made(tmp_path, "server", by=signer, names=names, days=days)
    door = DOOR if fault == "unknown" else Door(timeout_seconds=20, ca_file=signer.file)
    with listening(secured(own)) as listener:
        assert "its certificate is not valid" in refused(listener.url(), door)
        assert listener.told == []


def test_a_ca_file_that_is_missing_is_named_as_such(tmp_path: Path) -> None:
    door = Door(timeout_seconds=5, ca_file=tmp_path / "gone.pem")
    assert "cannot read ca_file" in refused("https://127.0.0.1:1/hunter2", door)
