"""All parts show one moment, whatever is written during the backup."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from holdfast.ports.source import Snapshot
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.target import PostgresTarget
from tests.support.depth import deep
from tests.support.loop import bring_back, keep
from tests.support.postgres_server import PostgresServer

TRANSFERS_SEEN = 20
TOTAL = 1_000_000


@contextmanager
def transfers(conninfo: str) -> Iterator[threading.Semaphore]:
    """Move money between two tables without a pause; the semaphore counts commits."""
    stop, done = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            while not stop.is_set():
                with connection.transaction():
                    connection.execute("UPDATE here SET amount = amount - 1")
                    connection.execute("UPDATE there SET amount = amount + 1")
                    connection.execute("INSERT INTO log DEFAULT VALUES")
                done.release()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("attempt", range(deep(20, sample=5)))
def test_a_transfer_under_way_is_never_half_in_a_backup(
    server: PostgresServer, tmp_path: Path, attempt: int
) -> None:
    database, restored = (
        server.database(
            f"CREATE TABLE here AS SELECT {TOTAL} AS amount;"
            "CREATE TABLE there AS SELECT 0 AS amount;"
            "CREATE TABLE log (id serial PRIMARY KEY)"
        ),
        server.name(),
    )

    with transfers(server.conninfo(database)) as done:

        def wait_for_writes(_: Snapshot) -> None:
            for _transfer in range(TRANSFERS_SEEN):
                assert done.acquire(timeout=120)

        source = PostgresSource(dsn=server.conninfo(database))
        parts = keep(source, tmp_path, workers=3, meanwhile=wait_for_writes)
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    ((here, there, logged),) = server.ask(
        restored,
        "SELECT (SELECT amount FROM here), (SELECT amount FROM there), (SELECT count(*) FROM log)",
    )
    ((now,),) = server.ask(database, "SELECT amount FROM there")
    assert isinstance(here, int)
    assert isinstance(there, int)
    assert isinstance(now, int)
    assert here + there == TOTAL
    assert there == logged
    assert there <= now - TRANSFERS_SEEN


def test_the_proof_is_in_the_words_of_the_server(server: PostgresServer) -> None:
    source = PostgresSource(dsn=server.conninfo(server.database()))
    with source.open(workers=3) as snapshot:
        proof = snapshot.proof.texts()
        shown = server.ask("postgres", "SELECT pg_current_snapshot()::text")[0][0]
    assert proof["sessions"] == f"3 of 3 see {proof['visible']}"
    assert proof["visible"].startswith(f"{proof['xmin']}:{proof['xmax']}:")
    assert int(str(shown).split(":")[1]) >= int(proof["xmax"])
    assert "/" in proof["lsn"]
