"""A session without the driver: what it asks, and which answers it leaves to the driver."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.sources.postgres.files.archiver import asked_on_socket
from holdfast.sources.postgres.server.local_session import (
    MOST_MESSAGE_BYTES,
    NotAnswered,
    opened,
)
from tests.support.waiting import until

READY = b"Z\0\0\0\x05I"
WELCOME = b"R" + struct.pack("!II", 8, 0) + b"S\0\0\0\x09a\0b\0\0" + READY


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def row(*values: bytes | None) -> bytes:
    told = [b"\xff\xff\xff\xff" if each is None else struct.pack("!i", len(each)) + each
            for each in values]  # fmt: skip
    return message(b"D", struct.pack("!H", len(values)) + b"".join(told))


def refused(state: bytes) -> bytes:
    return message(b"E", b"SERROR\0C" + state + b"\0Mno\0\0")


Serve = Callable[..., list[bytes]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Answers each message of one client with the next of `answers`, and keeps the messages."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / ".s.PGSQL.5432"))
    listening.listen()
    threads: list[threading.Thread] = []

    def begun(*answers: bytes) -> list[bytes]:
        heard: list[bytes] = []

        def run() -> None:
            # A client that has read enough closes its end, and one that never comes is no error.
            with suppress(OSError), listening.accept()[0] as client:
                for each in answers:
                    heard.append(client.recv(1 << 16))
                    client.sendall(each)
                client.shutdown(socket.SHUT_WR)
                heard.append(client.recv(1 << 16))

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return heard

    yield begun
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    for each in threads:
        each.join()


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("PG")]:
        monkeypatch.delenv(name)


def rows_of(folder: Path, statement: str = "SELECT 1") -> list[list[str | None]]:
    dsn = f"host={folder} user=me dbname=shop"
    with opened(dsn, application_name="holdfast") as session:
        return session.rows(statement)


def test_rows_arrive_as_texts(tmp_path: Path, serve: Serve) -> None:
    heard = serve(WELCOME, row(b"1", None, "ä".encode()) + row(b"", b"2") + READY)
    assert rows_of(tmp_path) == [["1", None, "ä"], ["", "2"]]
    until(lambda: len(heard) == 3)
    begun, asked, ended = heard
    assert b"user\0me\0database\0shop\0application_name\0holdfast\0" in begun
    assert b"-c search_path= " in begun
    assert asked == message(b"Q", b"SELECT 1\0")
    assert ended == message(b"X", b"")


@pytest.mark.parametrize(
    "answers",
    [
        (b"R" + struct.pack("!II", 8, 3) + READY, row(b"1") + READY),
        (b"R" + struct.pack("!II", 8, 10) + READY, row(b"1") + READY),
        (refused(b"28000"),),
        (WELCOME[:9],),
        (WELCOME, refused(b"42501") + READY),
        (WELCOME, message(b"D", b"\0\x05\0\0\0\x01a") + READY),
        (WELCOME, message(b"D", b"\0\x01\0\0\0\x09a") + READY),
        (WELCOME, row(b"\xff\xfe") + READY),
        (WELCOME, b"D" + struct.pack("!I", MOST_MESSAGE_BYTES + 5)),
        (WELCOME, b"D\0\0\0\x01"),
        (WELCOME, row(b"x" * 60_000) * 20 + READY),
        (WELCOME, b""),
    ],
    ids=[
        *("password", "scram", "refused", "cut short", "error", "fewer values", "shorter value"),
        *("no text", "long message", "negative", "long answer", "gone"),
    ],
)
def test_all_else_is_left_to_the_driver(
    tmp_path: Path, serve: Serve, answers: tuple[bytes, ...]
) -> None:
    serve(*answers)
    with pytest.raises(NotAnswered):
        rows_of(tmp_path)


@pytest.mark.parametrize("method", [3, 5, 10], ids=["password", "md5", "scram"])
def test_a_server_that_asks_for_a_password_is_left_without_a_word(
    tmp_path: Path, serve: Serve, method: int
) -> None:
    """It would log a word as a wrong answer, each minute."""
    heard = serve(message(b"R", struct.pack("!I", method)))
    with pytest.raises(NotAnswered):
        rows_of(tmp_path)
    until(lambda: len(heard) == 2)
    assert heard[1] == b""


def test_a_user_without_a_name_is_left_to_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: (1 << 32) - 3)
    with (
        pytest.raises(NotAnswered, match="the login needs the driver"),
        opened(f"host={tmp_path}", application_name="holdfast"),
    ):
        raise AssertionError


def test_a_refused_statement_has_its_state(tmp_path: Path, serve: Serve) -> None:
    serve(WELCOME, refused(b"42501") + READY)
    with pytest.raises(NotAnswered) as caught:
        rows_of(tmp_path)
    assert caught.value.sqlstate == "42501"


@pytest.mark.parametrize(
    "dsn",
    [
        "host=db.example user=me",
        "user=me dbname=shop",
        "postgresql:///shop?host=/run/postgresql",
        "host=/run/postgresql password=secret",
        "host=/run/postgresql service=shop",
        "host=/run/postgresql requirepeer=postgres",
        "host=/run/postgresql,/tmp user=me",
        "host='/run/postgresql' user=me",
        "host=/run/postgresql user = me",
        "host=/run/postgresql user=me\0replication\0true",
        "host=/run/postgresql dbname=a\u00a0user=other",
    ],
)
def test_a_login_that_needs_more_is_left_to_the_driver(dsn: str) -> None:
    with (
        pytest.raises(NotAnswered, match="the login needs the driver"),
        opened(dsn, application_name="holdfast"),
    ):
        raise AssertionError


def test_variables_of_the_environment_are_left_to_the_driver(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSERVICE", "shop")
    with pytest.raises(NotAnswered, match="the login needs the driver"):
        rows_of(tmp_path)


def test_a_server_that_is_down_is_left_to_the_driver(tmp_path: Path) -> None:
    with pytest.raises(NotAnswered):
        rows_of(tmp_path)


STATE = [b"7", b"on", b"f", b"t", b"1", b"a", b"2026-11-30 19:00:00.5+00", b"0", b"", None, None]
NOW = b"2026-11-30 19:00:01+00"


@pytest.mark.parametrize(
    ("at", "value"),
    [
        *((at, None) for at in (0, 1, 2, 3, 4, 5, 7, 8, 11)),
        *((6, b"2026-11-30 19:00:00"), (11, b"2026-11-30"), (4, b"many"), (6, b"infinity")),
    ],
)
def test_an_archiver_with_an_odd_value_is_left_to_the_driver(
    tmp_path: Path, serve: Serve, at: int, value: bytes | None
) -> None:
    dsn = f"host={tmp_path} user=me"
    state: list[bytes | None] = [*STATE, NOW]
    answers = [row(b"0", None) + READY]
    serve(WELCOME, row(*state) + READY, *answers)
    assert asked_on_socket(dsn, application_name="holdfast") is not None
    state[at] = value
    serve(WELCOME, row(*state) + READY, *answers)
    assert asked_on_socket(dsn, application_name="holdfast") is None
