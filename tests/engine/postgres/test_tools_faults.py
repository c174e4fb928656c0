"""Failures of pg_dump and pg_restore are reported, and nothing incomplete stays."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from holdfast.model.backup import Part, PartKind
from holdfast.model.errors import (
    AccessDenied,
    BackupFailed,
    RestoreFailed,
    SnapshotLost,
    VerifyFailed,
)
from holdfast.ports.target import RestoreRequest
from holdfast.sources.postgres.dump.source import PostgresToolsSource
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.artefacts import ALWAYS_PLAIN, BIG, archive_plan, children, restored_with
from tests.engine.postgres.equality import program
from tests.fakes.stored import FakeStored
from tests.support.loop import Unwatched, keep, opener
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import until


@pytest.mark.parametrize("workers", [1, 2])
def test_an_object_that_cannot_come_back_is_named_and_nothing_stays(
    server: PostgresServer, tmp_path: Path, workers: int, plain_from_bytes: int
) -> None:
    role = server.role()
    columns = ", ".join(f"column_{number} int" for number in range(60))
    database = server.database(f"CREATE TABLE a ({columns})", f'ALTER TABLE a OWNER TO "{role}"')
    source = PostgresToolsSource(dsn=server.conninfo(database), plain_from_bytes=plain_from_bytes)
    parts = keep(source, tmp_path)
    server.run(database, "ALTER TABLE a OWNER TO CURRENT_USER")
    server.run("postgres", f'DROP ROLE "{role}"')
    before = server.databases()
    with pytest.raises(RestoreFailed) as caught:
        restored_with(server, RestoreRequest(parts=parts, workers=workers), tmp_path, server.name())
    assert caught.value.message.startswith("cannot restore table '")
    assert f'role "{role}" does not exist' in caught.value.message
    assert "--globals" in caught.value.hint
    assert server.databases() == before


def test_a_part_that_turns_out_damaged_leaves_no_database(
    server: PostgresServer, tmp_path: Path, plain_from_bytes: int
) -> None:
    database = server.database(BIG)
    source = PostgresToolsSource(dsn=server.conninfo(database), plain_from_bytes=plain_from_bytes)
    parts, before = keep(source, tmp_path), server.databases()

    class Damaged:
        def __init__(self, part: Part) -> None:
            self._part = part

        def __enter__(self) -> Iterator[bytes]:
            return self._chunks()

        def __exit__(self, *_: object) -> None: ...

        def _chunks(self) -> Iterator[bytes]:
            with opener(tmp_path).open_part(self._part) as chunks:
                yield next(chunks)
            if self._part.kind is PartKind.ARCHIVE:
                raise VerifyFailed(f"cannot trust part '{self._part.name}'")

    target = PostgresTarget(url=server.conninfo(server.name()))
    with pytest.raises(VerifyFailed):
        target.restore(RestoreRequest(parts=parts, workers=1), FakeStored(Damaged), Unwatched())
    assert server.databases() == before
    until(lambda: server.sessions("holdfast-restore-%") == 0)


def test_a_wrong_password_is_refused_and_never_repeated(server: PostgresServer) -> None:
    role = server.role(password="right")
    dsn = server.over_tcp("postgres", user=role)
    with pytest.raises(AccessDenied) as caught:
        PostgresToolsSource(dsn=dsn, password="wr0ng-secret").check()
    assert "wr0ng-secret" not in caught.value.message + caught.value.hint


def test_a_password_reaches_pg_dump_by_environment_alone(
    server: PostgresServer, tmp_path: Path
) -> None:
    role = server.role(password="the-s3cret", options="SUPERUSER")
    database = server.database(BIG)
    source = PostgresToolsSource(dsn=server.over_tcp(database, user=role), password="the-s3cret")
    with source.open(workers=1) as snapshot, snapshot.read(archive_plan(snapshot)) as stream:
        next(iter(stream))
        (pid,) = children("pg_dump", of=os.getpid())
        assert b"the-s3cret" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert children("pg_dump", of=os.getpid()) == []


def test_a_pg_dump_that_is_killed_fails_the_part(server: PostgresServer) -> None:
    source = PostgresToolsSource(
        dsn=server.conninfo(server.database(BIG)),
        application_name="test-killed",
        plain_from_bytes=ALWAYS_PLAIN,
    )
    with source.open(workers=1) as snapshot, snapshot.read(archive_plan(snapshot)) as stream:
        chunks = iter(stream)
        next(chunks)
        (pid,) = children("pg_dump", of=os.getpid())
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BackupFailed, match=r"cannot read database .*SIGKILL"):
            list(chunks)
    until(lambda: server.sessions("test-killed") == 0)


def test_an_abort_ends_pg_dump(server: PostgresServer) -> None:
    source = PostgresToolsSource(
        dsn=server.conninfo(server.database(BIG)),
        application_name="test-aborted",
        plain_from_bytes=ALWAYS_PLAIN,
    )
    with source.open(workers=1) as snapshot, snapshot.read(archive_plan(snapshot)) as stream:
        chunks = iter(stream)
        next(chunks)
        snapshot.abort()
        snapshot.abort()
        with pytest.raises(BackupFailed, match="the run was ended"):
            list(chunks)
        with pytest.raises(BackupFailed), snapshot.read(archive_plan(snapshot)):
            pass
        assert children("pg_dump", of=os.getpid()) == []
    until(lambda: server.sessions("test-aborted") == 0)


@pytest.fixture
def own_server(server: PostgresServer, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A server for this test alone, in its folder's socket; yields what stops it at once."""
    data, socket = tmp_path / "data", tmp_path
    initdb, pg_ctl = (program(name, server.superuser) for name in ("initdb", "pg_ctl"))
    subprocess.run(
        [initdb, "-A", "trust", "-N", "-U", "postgres", "-D", str(data)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    options = f"-k {socket} -h '' -c fsync=off"
    log = str(tmp_path / "log")
    subprocess.run(
        [pg_ctl, "-w", "-D", str(data), "-o", options, "-l", log, "start"],
        check=True,
        stdout=subprocess.DEVNULL,
    )

    def stop() -> None:
        subprocess.run(
            [pg_ctl, "-w", "-D", str(data), "-m", "immediate", "stop"],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    try:
        yield stop
    finally:
        if (data / "postmaster.pid").exists():
            stop()


def test_a_server_that_stops_midway_fails_the_part(
    own_server: Callable[[], None], tmp_path: Path
) -> None:
    dsn = make_conninfo(host=str(tmp_path), user="postgres", dbname="postgres")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(BIG)
    source = PostgresToolsSource(dsn=dsn, plain_from_bytes=ALWAYS_PLAIN)
    with source.open(workers=1) as snapshot, snapshot.read(archive_plan(snapshot)) as stream:
        chunks = iter(stream)
        next(chunks)
        own_server()
        with pytest.raises(SnapshotLost, match="cannot read database 'postgres'"):
            list(chunks)
