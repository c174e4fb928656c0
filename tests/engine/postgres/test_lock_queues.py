"""Exclusive locks, held or queued for: a backup neither fails nor waits silently."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from holdfast.ports.source import Snapshot, Source
from holdfast.sources.postgres.dump.source import PostgresToolsSource
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.rows.transport import Wanted
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.equality import dump
from tests.support.events import capture_logs
from tests.support.loop import FolderBlobs, bring_back, keep
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import until

TABLES = (
    "CREATE TABLE big AS SELECT g, md5(g::text) AS text FROM generate_series(1, 30000) g;"
    "CREATE TABLE small AS SELECT 1 AS x; CREATE TABLE other AS SELECT 2 AS x;"
    "CREATE TABLE files (id int, body bytea); ALTER TABLE files ALTER body SET STORAGE EXTERNAL;"
    "INSERT INTO files SELECT g, decode(repeat(md5(g::text), 65536), 'hex')"
    " FROM generate_series(1, 3) g"
)
NAMES = ("big", "small", "other", "files")
QUEUED = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
Engine = Callable[[str], Source]


@pytest.fixture(params=["native", "tools"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "native":
        return lambda dsn: PostgresSource(dsn=dsn, lock_wait_seconds=5, small_bytes=1 << 16)
    return lambda dsn: PostgresToolsSource(dsn=dsn, lock_wait_seconds=5)


class Altering:
    """Sessions that each queue to alter a table, and alter it when they get the lock."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self._server = server
        self._database = database
        self._threads: list[threading.Thread] = []

    def queue(self, _: Snapshot) -> None:
        for name in NAMES:
            thread = threading.Thread(target=self._alter, args=(name,))
            self._threads.append(thread)
            thread.start()
        until(lambda: self._server.ask(self._database, QUEUED) == [(len(NAMES),)])

    def _alter(self, name: str) -> None:
        with psycopg.connect(self._server.conninfo(self._database), autocommit=True) as connection:
            connection.execute(f"ALTER TABLE {name} ADD COLUMN more int".encode())

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)


@contextmanager
def altering(server: PostgresServer, database: str) -> Iterator[Altering]:
    made = Altering(server, database)
    try:
        yield made
    finally:
        made.join()


def test_a_table_that_another_session_queues_to_alter_is_read_nevertheless(
    server: PostgresServer, tmp_path: Path, engine: Engine
) -> None:
    database, restored = server.database(TABLES), server.name()
    conninfo = server.conninfo(database)
    before = dump(conninfo)
    with altering(server, database) as others:
        parts = keep(engine(conninfo), tmp_path, meanwhile=others.queue)
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    assert dump(server.conninfo(restored)) == before
    # The queued sessions got their lock once the backup was over.
    assert server.ask(database, "SELECT count(more) FROM big") == [(0,)]


def test_ranges_and_values_kept_aside_of_a_table_with_a_queue_are_read_too(
    server: PostgresServer, tmp_path: Path, way: Wanted
) -> None:
    database, restored = server.database(TABLES), server.name()
    conninfo = server.conninfo(database)
    before = dump(conninfo)
    source = PostgresSource(
        dsn=conninfo,
        transport=way,
        lock_wait_seconds=5,
        chunk_bytes=1 << 17,
        small_bytes=0,
        external_bytes=1 << 20,
    )
    blobs = FolderBlobs(tmp_path / "blobs")
    with altering(server, database) as others:
        parts = keep(source, tmp_path, meanwhile=others.queue, blobs=blobs, workers=3)
    assert len([part for part in parts if part.relation and part.relation.name == "big"]) > 3
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path, blobs=blobs)
    # Ranges are restored in any order.
    assert sorted(dump(server.conninfo(restored))) == sorted(before)


def test_a_read_that_ends_early_takes_nothing_from_those_that_follow(
    server: PostgresServer,
) -> None:
    database = server.database(TABLES)
    conninfo = server.conninfo(database)
    source = PostgresSource(dsn=conninfo, lock_wait_seconds=5, small_bytes=0)
    with altering(server, database) as others, source.open(workers=1) as snapshot:
        others.queue(snapshot)
        (part,) = (each for each in snapshot.parts if str(each.relation) == "public.big")
        for _ in range(2):
            with snapshot.read(part) as stream:
                next(iter(stream))
        with snapshot.read(part) as stream:
            assert sum(bytes(chunk).count(b"\n") for chunk in stream) == 30000


def test_a_session_that_holds_a_lock_for_long_is_named_while_we_wait(
    server: PostgresServer, tmp_path: Path, engine: Engine
) -> None:
    database = server.database(TABLES)
    with psycopg.connect(server.conninfo(database)) as other:
        other.execute("LOCK TABLE small IN ACCESS EXCLUSIVE MODE")
        pid = other.info.backend_pid
        with capture_logs() as logged:
            pool: list[BaseException] = []

            def back_up() -> None:
                try:
                    keep(engine(server.conninfo(database)), tmp_path)
                except BaseException as error:  # noqa: BLE001 - told in the main thread
                    pool.append(error)

            thread = threading.Thread(target=back_up)
            thread.start()
            until(lambda: any(each["event"] == "waiting_for_lock" for each in logged))
            other.rollback()
            thread.join(60)
    assert pool == []
    (told,) = (each["on"] for each in logged if each["event"] == "waiting_for_lock")
    assert told == (
        f"table 'public.small', held by pid {pid} (LOCK TABLE small IN ACCESS EXCLUSIVE MODE)"
    )


def test_a_plan_waits_for_nobody_and_names_who_is_in_the_way(
    server: PostgresServer, engine: Engine
) -> None:
    database = server.database(TABLES, "ANALYZE")
    with psycopg.connect(server.conninfo(database)) as other:
        other.execute("LOCK TABLE big IN ACCESS EXCLUSIVE MODE")
        source = engine(server.conninfo(database))
        plan = source.plan()
        source.check()
    (note,) = (note for note in plan.notes if "would wait" in note)
    assert note.startswith("a backup would wait for a lock on table 'public.big', held by pid")
    (big,) = (each for each in plan.tables if each.relation.name == "big")
    assert big.estimated_bytes > 1 << 20
