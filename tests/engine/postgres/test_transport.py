"""The named pipe carries the same rows as the wire, only where it works, and is removed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from holdfast.model.backup import Codec, PartKind, PartPlan
from holdfast.model.errors import BackupFailed, RepositoryFull, Unsupported
from holdfast.operations.parts.blobs import BlobWriter
from holdfast.ports.source import Snapshot
from holdfast.runtime.named_pipes import PREFIX, pipes_for
from holdfast.runtime.process import widened
from holdfast.sources.postgres.rows import transport
from holdfast.sources.postgres.rows.copy_command import CopyIntoPipe
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.rows.transport import Wanted
from holdfast.sources.postgres.server.sql_text import literal
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.equality import checksums, dump
from tests.fakes.repository import MemoryRepository
from tests.support.loop import bring_back, keep
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Random bytes do not shrink, so they are TOASTed as long as they are.
PICTURES = """
CREATE TABLE pictures (id int PRIMARY KEY, name text, picture bytea, taken timestamptz);
INSERT INTO pictures
SELECT n, 'n' || n,
       (SELECT string_agg(sha512((n || '/' || k)::bytea), ''::bytea) FROM generate_series(1, 64) k),
       now() FROM generate_series(1, 50) n;
INSERT INTO pictures VALUES (0, NULL, '', NULL), (-1, E'tab\\t', NULL, 'infinity');
ANALYZE pictures;
"""
BIG = "CREATE TABLE big AS SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 40000) g"


def pipes_left() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"{PREFIX}{os.getpid()}-*"))


def test_both_ways_bring_the_same_bytes(
    server: PostgresServer, corpus: Callable[[], str], tmp_path: Path
) -> None:
    database = server.conninfo(corpus())
    brought = {
        name: keep(PostgresSource(dsn=database, transport=name, small_bytes=0), tmp_path / name)
        for name in ("fifo", "wire")
    }
    found = {
        name: {
            part.name: (part.rows, part.plain_fingerprint)
            for part in parts
            if part.kind is PartKind.DATA
        }
        for name, parts in brought.items()
    }
    assert found["fifo"] == found["wire"]
    assert {part.details.texts().get("transport") for part in brought["fifo"]} == {"fifo", None}
    assert pipes_left() == []


def test_what_a_killed_run_left_is_removed_by_the_next(server: PostgresServer) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    left = Path(tempfile.gettempdir()) / f"{PREFIX}{child.pid}-x"
    left.mkdir()
    os.mkfifo(left / "0.pipe")
    PostgresSource(dsn=server.conninfo("postgres"), transport="fifo").plan()
    assert not left.exists()


HOLDER = """
import os, sys
from holdfast.runtime.named_pipes import pipes_for
with pipes_for(os.geteuid()) as pipes, pipes.made() as path:
    print(path, flush=True)
    sys.stdin.read()
"""


class WaitingServer:
    """A server process that is blocked in open() of another program's pipe."""

    def __init__(self, server: PostgresServer, pipe: str) -> None:
        self._session = psycopg.connect(server.conninfo("postgres"), autocommit=True)
        self._pid = self._session.info.backend_pid
        # More than a pipe holds.
        rows = "SELECT repeat('x', 1000) FROM generate_series(1, 10000)"
        self._statement = f"COPY ({rows}) TO {literal(pipe)}"
        self.error: psycopg.Error | None = None
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()
        until(lambda: bool(server.ask("postgres", self._active)) and self._sleeps())

    @property
    def _active(self) -> str:
        return f"SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid = {self._pid}"

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()

    def _sleeps(self) -> bool:
        return Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"

    def _copy(self) -> None:
        try:
            self._session.execute(self._statement)
        except psycopg.Error as error:
            self.error = error


@contextmanager
def holder() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run that has made a pipe and not opened it."""
    pipes = subprocess.PIPE
    argv = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(argv, stdin=pipes, stdout=pipes, text=True) as child:
        assert child.stdout is not None
        try:
            yield child, child.stdout.readline().strip()
        finally:
            child.kill()


def test_the_server_waits_for_no_run_that_was_killed(server: PostgresServer) -> None:
    with holder() as (child, pipe):
        waiting = WaitingServer(server, pipe)
        child.kill()
        until(lambda: not waiting.waits)
        assert waiting.error is not None
        until(lambda: not Path(pipe).parent.exists())


def test_the_server_waits_until_the_next_run_where_nobody_is_left_to_let_it_go(
    server: PostgresServer,
) -> None:
    with holder() as (child, pipe):
        waiting = WaitingServer(server, pipe)
        subprocess.run(["pkill", "-KILL", "-P", str(child.pid), "sh"], check=True)
        child.kill()
        child.wait()
        assert waiting.waits
        PostgresSource(dsn=server.conninfo("postgres"), transport="fifo").plan()
        until(lambda: not waiting.waits)
        assert waiting.error is not None
    assert not Path(pipe).parent.exists()


def test_more_than_a_pipe_holds_comes_whole(server: PostgresServer, tmp_path: Path) -> None:
    database = server.conninfo(server.database(BIG))
    keep(PostgresSource(dsn=database, transport="fifo"), tmp_path / "fifo", workers=1)
    keep(PostgresSource(dsn=database, transport="wire"), tmp_path / "wire", workers=1)
    (through_pipe,) = (tmp_path / "fifo/data").iterdir()
    (over_wire,) = (tmp_path / "wire/data").iterdir()
    assert through_pipe.stat().st_size > 30 << 20
    assert through_pipe.read_bytes() == over_wire.read_bytes()


class CountingPipe(FileIO):
    """Our end of a pipe, and how often something was read from it."""

    reads = 0

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        size = super().readinto(buffer)
        self.reads += bool(size)
        return size


def test_the_reader_of_a_pipe_is_not_woken_for_each_piece_that_the_server_writes(
    server: PostgresServer,
) -> None:
    with (
        psycopg.connect(server.conninfo(server.database(BIG))) as session,
        pipes_for(transport.peer_uid(session)) as pipes,
        pipes.made() as path,
    ):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with CountingPipe(widened(descriptor)) as pipe:
            stream = CopyIntoPipe(
                session,
                f"COPY big TO {literal(str(path))}",
                pipe=pipe,
                buffer=bytearray(1 << 20),
                subject="table 'big'",
                user="",
                aborted=threading.Event(),
            )
            size_bytes = sum(len(chunk) for chunk in stream)
    assert stream.rows == 40_000
    assert size_bytes > 30 << 20
    # The server writes 4 KiB each time.
    assert pipe.reads < size_bytes // (16 << 10)


@pytest.mark.parametrize("transport", ["fifo", "wire"])
def test_long_bytea_travels_in_binary_and_comes_back_equal(
    server: PostgresServer, tmp_path: Path, transport: str
) -> None:
    database, restored = server.database(PICTURES), server.name()
    source = PostgresSource(
        dsn=server.conninfo(database),
        transport="fifo" if transport == "fifo" else "wire",
        small_bytes=0,
    )
    (table,) = source.plan().tables
    assert table.method == f"copy binary over {transport}"
    parts = keep(source, tmp_path)
    (part,) = (part for part in parts if part.kind is PartKind.DATA)
    assert (part.rows, part.details.texts()["format"]) == (52, "binary")
    assert part.plain_bytes < 250_000  # text would be more than 400,000
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    assert dump(server.conninfo(restored)) == dump(server.conninfo(database))
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(database))


def test_a_login_without_the_right_takes_the_wire_and_is_told_why(server: PostgresServer) -> None:
    role = server.role(options="IN ROLE pg_read_all_data")
    escaped = role.replace(" ", "\\ ")
    dsn = make_conninfo(server.conninfo(server.database()), options=f"-c role={escaped}")
    (note,) = (n for n in PostgresSource(dsn=dsn).plan().notes if n.startswith("rows travel"))
    assert note == (
        "rows travel over wire: the login may not write server files"
        f' (GRANT pg_write_server_files TO "{role}")'
    )
    with pytest.raises(Unsupported, match="cannot read through a named pipe") as refused:
        PostgresSource(dsn=dsn, transport="fifo").plan()
    assert "transport: auto" in refused.value.hint


def test_a_server_over_the_network_is_read_over_the_wire(server: PostgresServer) -> None:
    role = server.role(password="x", options="IN ROLE pg_read_all_data, pg_write_server_files")
    source = PostgresSource(dsn=server.over_tcp(server.database(), user=role), password="x")
    assert (
        "rows travel over wire: the connection does not use a socket of this host"
        in source.plan().notes
    )


def test_a_pipe_that_the_server_cannot_reach_is_no_way(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server cannot use this name; a private folder would have the same effect."""
    hidden = tmp_path / "日本"
    hidden.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(hidden))
    latin = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    source = PostgresSource(dsn=server.conninfo(server.database(BIG, options=latin)))
    (note,) = (n for n in source.plan().notes if n.startswith("rows travel over wire"))
    assert "has no equivalent in encoding" in note
    parts = keep(source, tmp_path)
    assert [part.rows for part in parts if part.kind is PartKind.DATA] == [40_000]


def test_a_query_that_is_cancelled_fails_the_part_and_leaves_no_pipe(
    server: PostgresServer,
) -> None:
    database = server.database(BIG)
    source = PostgresSource(
        dsn=server.conninfo(database), application_name="test-cancelled", transport="fifo"
    )
    with source.open(workers=1) as snapshot:
        (part,) = (part for part in snapshot.parts if part.kind is PartKind.DATA)
        with pytest.raises(BackupFailed, match="canceling statement"):
            read_and_cancel(server, snapshot, part)
    assert pipes_left() == []


def read_and_cancel(server: PostgresServer, snapshot: Snapshot, part: PartPlan) -> None:
    with snapshot.read(part) as stream:
        for _ in stream:
            server.run(
                "postgres",
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'test-cancelled' AND query LIKE 'COPY%'",
            )


LONG_OBJECT = "SELECT lo_from_bytea(4711, decode(repeat('abcd', 4 << 20), 'hex'))"
FEW = "CREATE TABLE few AS SELECT generate_series(1, 1000) AS id"


@pytest.mark.parametrize("way", ["fifo", "wire"])
def test_a_store_that_refuses_a_long_value_leaves_its_session_free(
    server: PostgresServer, way: Wanted
) -> None:
    database = server.conninfo(server.database(FEW, LONG_OBJECT))
    source = PostgresSource(dsn=database, transport=way, small_bytes=0)
    full = MemoryRepository()
    full.refuse_puts_with = RepositoryFull("cannot store it: no room left")
    blobs = BlobWriter(full, job="shop", codec=Codec.NONE, level=0, advance=lambda _: None)
    with source.open(workers=1, blobs=blobs) as snapshot:
        (value,) = (part for part in snapshot.parts if part.name.startswith("blobs/"))
        (rows,) = (part for part in snapshot.parts if part.kind is PartKind.DATA)
        with pytest.raises(RepositoryFull) as refused, snapshot.read(value) as stream:
            list(stream)
        with snapshot.read(rows) as stream:
            list(stream)
            assert stream.rows == 1000
        # Until here its traceback has held every frame of the read that failed.
        assert refused.tb is not None
