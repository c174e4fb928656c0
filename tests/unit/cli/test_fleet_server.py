"""The web server of the fleet over real sockets: what it answers, refuses and outlives."""

from __future__ import annotations

import gzip
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.catalog.host_statuses import HostStatuses
from holdfast.cli.fleet_page import server as module
from holdfast.cli.fleet_page.server import Address, PageServer
from holdfast.cli.fleet_page.state import FleetState, Shown
from holdfast.model.errors import ConfigInvalid, RepositoryUnreachable
from holdfast.model.fleet import Allowed, Told, rows_of
from holdfast.operations.fleet import Fleet
from holdfast.repositories.local import LocalRepository
from lab.state import PROJECT
from tests.support.command_line import CommandLine
from tests.support.fleets import NOW, status_of


class Serving:
    """A server in this process, whose clock and fleet a test sets."""

    def __init__(self) -> None:
        told = Told(job="shop", host="db1", status=status_of(), repositories=("main",))
        self.fleet = Fleet(rows=tuple(rows_of([told], allowed=Allowed(), now=NOW)), unseen={})
        self.now = NOW
        self.readings = 0
        self.fails_with: Exception | None = None
        self.state = FleetState(self._read, refresh=timedelta(seconds=60), clock=lambda: self.now)
        self.state.begin()
        self.server = PageServer(Address(host="127.0.0.1", port=0), self.state, names=["wall"])

    def _read(self) -> Fleet:
        self.readings += 1
        if self.fails_with is not None:
            raise self.fails_with
        return self.fleet

    def ask(
        self, path: str = "/", *, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as client:
            client.request(method, path, headers=headers)
            answer = client.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def raw(self, content: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as client:
            client.sendall(content)
            found = b""
            while piece := client.recv(65536):
                found += piece
            return found

    @property
    def port(self) -> int:
        return self.server.server_port


@pytest.fixture
def serving() -> Iterator[Serving]:
    one = Serving()
    with one.server:
        thread = threading.Thread(target=one.server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield one
        one.server.shutdown()
        thread.join()


def test_the_page_the_document_and_the_health(serving: Serving) -> None:
    status, headers, content = serving.ask()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b'data-refresh="60"' in content
    status, headers, content = serving.ask("/fleet.json?x=1")
    document = json.loads(content)
    assert (document["schema"], document["jobs"][0]["host"]) == ("holdfast.fleet/1", "db1")
    assert serving.ask("/healthz")[::2] == (200, b"ok\n")
    assert serving.ask("/etc/passwd")[0] == 404
    assert serving.readings == 1


def test_every_answer_has_strict_headers(serving: Serving) -> None:
    for path in ("/", "/fleet.json", "/healthz", "/none"):
        _, headers, _ = serving.ask(path)
        assert headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Server"] == "holdfast"


def test_a_page_is_compressed_for_those_who_can_read_it(serving: Serving) -> None:
    _, headers, content = serving.ask(**{"Accept-Encoding": "br, gzip;q=0.8"})
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(content) == serving.ask()[2]


def test_a_head_has_the_length_and_no_content(serving: Serving) -> None:
    status, headers, content = serving.ask(method="HEAD")
    assert (status, content) == (200, b"")
    assert int(headers["Content-Length"]) == len(serving.ask()[2])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X<b>"])
def test_other_methods_are_refused(serving: Serving, method: str) -> None:
    status, headers, content = serving.ask(method=method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert content == b"method not allowed\n"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:{port}", 200),
        ("[::1]", 200),
        ("wall:80", 200),
        ("192.0.2.7", 200),
        ("evil.example", 403),
        ("evil.example:{port}", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
    ],
)
def test_a_foreign_name_is_refused(serving: Serving, host: str, status: int) -> None:
    assert serving.ask(Host=host.format(port=serving.port))[0] == status


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", b" 400 "),
        (b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 404 "),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n", b" 400 "),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b" 414 "),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b" 431 "),
        (b"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n", b"bad request"),
    ],
)
def test_odd_requests_are_refused_and_the_next_one_is_answered(
    serving: Serving, request_: bytes, status: bytes
) -> None:
    assert status in serving.raw(request_)
    assert serving.ask("/healthz")[0] == 200


def test_the_state_is_read_once_in_the_time_and_kept_while_it_cannot_be(serving: Serving) -> None:
    serving.now += timedelta(seconds=59)
    serving.ask()
    assert serving.readings == 1
    serving.now += timedelta(seconds=1)
    for _ in range(3):
        serving.ask()
    assert serving.readings == 2
    error = RepositoryUnreachable("cannot list 'main': no route", hint="wait")
    serving.fleet = replace(serving.fleet, unseen={"main": error}, read_at={"main": NOW})
    serving.now += timedelta(seconds=60)
    status, _, content = serving.ask()
    assert (status, b"no route" in content, b"db1" in content) == (200, True, True)
    assert serving.ask("/healthz")[::2] == (503, b"cannot list 'main': no route\n")
    serving.fails_with = ZeroDivisionError("a bug <b>")
    serving.now += timedelta(seconds=60)
    status, _, content = serving.ask()
    assert (status, b"a bug &lt;b&gt;" in content, b"db1" in content) == (200, True, True)
    serving.fails_with, serving.fleet = None, replace(serving.fleet, unseen={})
    serving.now += timedelta(seconds=60)
    assert serving.ask("/healthz")[0] == 200


def test_a_clock_that_is_set_back_keeps_no_old_state(serving: Serving) -> None:
    serving.now -= timedelta(hours=5)
    for _ in range(2):
        serving.ask()
    assert serving.readings == 2


def test_an_error_of_the_whole_reading_shows_the_last_state_and_its_time(serving: Serving) -> None:
    serving.fails_with = ValueError("no answer of postgresql://bob:hunter2@db/shop")
    serving.now += timedelta(hours=1)
    content = serving.ask()[2].decode()
    assert "What it held at 2026-11-30 12:00 UTC is shown." in content
    assert "Its jobs are missing" not in content
    assert "1 job of 1 host: healthy when they were read last" in content
    assert "<title>Not all was read · holdfast fleet</title>" in content
    assert "hunter2" not in content


def test_a_slow_client_gets_all_of_a_large_page(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Far more than the buffers of a socket hold, which the client reads in longer than the timeout.
    content = b"x" * (32 << 20)
    monkeypatch.setattr(Shown, "page", lambda _self: content)
    monkeypatch.setattr("holdfast.cli.fleet_page.server._Handler.timeout", 1.5)
    with socket.create_connection(("127.0.0.1", serving.port), timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received, pauses = 0, 6
        while piece := client.recv(1 << 20):
            received += len(piece)
            if pauses and received > (7 - pauses) << 20:
                pauses -= 1
                time.sleep(0.4)
    assert received > len(content)


def test_more_connections_than_allowed_are_closed(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 2)
    held = [socket.create_connection(("127.0.0.1", serving.port), timeout=20) for _ in range(2)]
    third = socket.create_connection(("127.0.0.1", serving.port), timeout=20)
    assert third.recv(1) == b"", "closed without an answer"
    third.close()
    for each in held:
        each.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert each.recv(12) == b"HTTP/1.0 200"
        each.close()


def test_a_client_that_never_ends_is_ended(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WHOLE_SECONDS", 0.0)
    with socket.create_connection(("127.0.0.1", serving.port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert client.recv(1) == b""


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8100", "127.0.0.1", 8100),
        (":8100", "127.0.0.1", 8100),
        ("localhost", "localhost", 8044),
        ("192.0.2.7:80", "192.0.2.7", 80),
        ("[::1]:8100", "::1", 8100),
        ("[::1]", "::1", 8044),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host=host, port=port)


@pytest.mark.parametrize("text", ["127.0.0.1:99999", "::1", "9" * 5000, "a:b:8044"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("::", False)]
)
def test_loopback(host: str, expected: bool) -> None:
    assert Address(host=host, port=1).is_loopback is expected


def test_a_port_in_use_ends_with_10(serving: Serving, cli: CommandLine) -> None:
    with pytest.raises(
        ConfigInvalid, match=r"cannot serve the fleet on .*: Address already in use"
    ):
        PageServer(Address(host="127.0.0.1", port=serving.port), serving.state)
    answer = cli.holdfast("fleet", "--serve", f"127.0.0.1:{serving.port}")
    assert answer.exit_code == 10
    assert "hint: another program may use the port" in answer.stderr


@pytest.mark.parametrize("host", ["a" * 70, "a..b"])
def test_what_cannot_be_a_name_ends_with_10(serving: Serving, host: str) -> None:
    with pytest.raises(ConfigInvalid, match="cannot serve the fleet on"):
        PageServer(Address(host=host, port=0), serving.state)


def test_a_wrong_address_is_a_wrong_command_line(cli: CommandLine) -> None:
    assert cli.holdfast("fleet", "--serve", "::1").exit_code == 2


def begun(cli: CommandLine, code: str, address: str) -> subprocess.Popen[str]:
    """`holdfast fleet --serve ADDRESS` in a process of its own, begun by `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", code, "--config", str(cli.config), "fleet", "--serve", address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT / "src",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_interrupted(
    cli: CommandLine, number: signal.Signals
) -> None:
    HostStatuses(LocalRepository(cli.repository)).commit(status_of("db1", "shop"))
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        " from holdfast.cli.main import main; main()"
    )
    with begun(cli, code, "0") as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        assert said.startswith("serving http://127.0.0.1:")
        port = int(said.split(":")[2].partition("/")[0])
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
            client.request("GET", "/fleet.json")
            document = json.loads(client.getresponse().read())
        running.send_signal(number)
        _, errors = running.communicate(timeout=60)
    assert document["jobs"][0]["host"] == "db1"
    assert running.returncode == 130, errors
    assert "Traceback" not in errors


def test_an_interruption_ends_a_first_reading_that_hangs(cli: CommandLine) -> None:
    HostStatuses(LocalRepository(cli.repository)).commit(status_of("db1", "shop"))
    code = (
        "import signal, sys, time; from holdfast.catalog import host_statuses as module;"
        " signal.signal(signal.SIGINT, signal.default_int_handler);"
        " module.read_document = lambda *_, **__: (print('hangs', flush=True), time.sleep(600));"
        " from holdfast.cli.main import main; main()"
    )
    with begun(cli, code, "0") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "hangs\n"
        running.send_signal(signal.SIGINT)
        try:
            _, errors = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == 130, errors


def test_an_address_for_others_is_warned_of(cli: CommandLine) -> None:
    code = "from holdfast.cli.main import main; main()"
    with begun(cli, code, "0.0.0.0:0") as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        running.terminate()
        running.communicate(timeout=60)
    assert said.startswith("warning: everybody who reaches this address")
