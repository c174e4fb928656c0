"""All sessions read one moment, whatever happens to them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Self

import pymysql
import pytest

from holdfast.model.backup import PartKind
from holdfast.model.errors import BackupFailed, HoldfastError, SnapshotLost
from holdfast.ports.source import Snapshot
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.lock import locked, shortest_lock
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server.connection import Address
from holdfast.sources.mysql.server.options import Options
from holdfast.sources.mysql.server.session import ServerVersion, session
from tests.support.depth import deep
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import MARIADB, PASSWORD, MysqlServer, numbers
from tests.support.waiting import until

ACCOUNTS = 200
WORKERS = 8
BACKUPS = deep(20, sample=3)
ACCOUNT_TABLES = tuple(
    statement
    for table in ("debit", "credit", "unkeyed")
    for statement in (
        f"CREATE TABLE {table} (id int{'' if table == 'unkeyed' else ' PRIMARY KEY'}, amount int)",
        f"INSERT INTO {table} SELECT seq, 1000 FROM {numbers(ACCOUNTS)}",
    )
)
WIDE_TABLE = (
    "CREATE TABLE wide (id int PRIMARY KEY, a varchar(1000))",
    f"INSERT INTO wide SELECT seq, REPEAT('a', 1000) FROM {numbers(20_000)}",
)
# Actions of another session that make our lock wait.
HINDRANCES = {
    "mariadb": ("BACKUP STAGE START", "BACKUP STAGE END"),
    "mysql": ("LOCK TABLES wide WRITE", "UNLOCK TABLES"),
}


class Transfers:
    """Moves amounts between tables, in transactions that keep the sum, until it is stopped."""

    def __init__(self, server: MysqlServer, database: str) -> None:
        self._connection = server.connect(database)
        self._over = threading.Event()
        self._some = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._some.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        number = 0
        with self._connection.cursor() as cursor:
            while not self._over.is_set():
                number += 1
                account = 1 + number % ACCOUNTS
                cursor.execute("START TRANSACTION")
                for table, change in (("debit", -2), ("credit", 1), ("unkeyed", 1)):
                    cursor.execute(f"UPDATE {table} SET amount=amount+{change} WHERE id={account}")
                cursor.execute("COMMIT")
                if number > 20:
                    self._some.set()


def test_every_snapshot_under_writes_keeps_the_invariant(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(*ACCOUNT_TABLES), server.name()
    proofs: list[dict[str, str]] = []
    with Transfers(server, original):
        for attempt in range(BACKUPS):
            folder = tmp_path / str(attempt)
            parts = keep(
                MysqlSource(server.url(original)),
                folder,
                workers=WORKERS,
                meanwhile=lambda snapshot: proofs.append(snapshot.proof.texts()),
            )
            bring_back(MysqlTarget(server.url(copy)), parts, folder, overwrite=True)
            ((total,),) = server.ask(
                copy,
                "SELECT (SELECT SUM(amount) FROM debit) + (SELECT SUM(amount) FROM credit)"
                " + (SELECT SUM(amount) FROM unkeyed)",
            )
            assert int(total) == 3 * ACCOUNTS * 1000
    assert len(proofs) == BACKUPS
    assert all(proof["sessions"] == str(2 * WORKERS) and proof["same_moment"] for proof in proofs)
    assert all(float(proof["lock_held_milliseconds"]) < 2000 for proof in proofs)


def test_a_killed_session_loses_the_snapshot_and_is_never_replaced(server: MysqlServer) -> None:
    original = server.database(*WIDE_TABLE)
    user = server.account("ALL ON *.*")
    source = MysqlSource(server.url(original, user=user), password=PASSWORD)
    with source.open(workers=1) as snapshot:
        (wide,) = [part for part in snapshot.parts if part.kind is PartKind.DATA]
        lost = pytest.raises(SnapshotLost, match="cannot continue reading the snapshot")
        with lost, snapshot.read(wide) as stream:
            for number, _ in enumerate(stream):
                if number == 0:
                    server.kill(user)
        with pytest.raises(SnapshotLost, match="no session"), snapshot.read(wide):
            pass
    until(lambda: server.sessions(user) == [])


@pytest.mark.parametrize("key", ["PRIMARY KEY", ""])
def test_leaving_a_part_early_ends_the_work_on_it_only(server: MysqlServer, key: str) -> None:
    original = server.database(
        f"CREATE TABLE wide (id int {key}, a varchar(1000))",
        f"INSERT INTO wide SELECT seq, REPEAT('a', 1000) FROM {numbers(20_000)}",
    )
    with MysqlSource(server.url(original)).open(workers=2) as snapshot:
        (wide,) = [part for part in snapshot.parts if part.kind is PartKind.DATA]
        with snapshot.read(wide) as stream:
            chunks = iter(stream)
            next(chunks), next(chunks)
        assert stream.rows is None
        with snapshot.read(wide) as again:
            assert sum(len(chunk) for chunk in again) > 20_000_000
        assert again.rows == 20000


def test_abort_ends_a_read_from_another_thread(server: MysqlServer) -> None:
    original = server.database(*WIDE_TABLE)
    failures: list[HoldfastError] = []

    def read(snapshot: Snapshot, started: threading.Event, go_on: threading.Event) -> None:
        (wide,) = [part for part in snapshot.parts if part.kind is PartKind.DATA]
        try:
            with snapshot.read(wide) as stream:
                for _ in stream:
                    started.set()
                    assert go_on.wait(60)
        except HoldfastError as error:
            failures.append(error)

    with MysqlSource(server.url(original)).open(workers=1) as snapshot:
        started, go_on = threading.Event(), threading.Event()
        reader = threading.Thread(target=read, args=(snapshot, started, go_on))
        reader.start()
        assert started.wait(60)
        snapshot.abort()
        snapshot.abort()
        go_on.set()
        reader.join(10)
        assert not reader.is_alive()
    assert [type(error) for error in failures] == [SnapshotLost]


@pytest.mark.parametrize(
    "change",
    [
        lambda server, name: server.run(name, "ALTER TABLE wide ADD INDEX (a(10)), FORCE"),
        lambda server, name: server.run(name, "TRUNCATE TABLE wide"),
        lambda server, name: server.run(name, "RENAME TABLE wide TO narrow"),
    ],
    ids=["rebuilt", "emptied", "renamed"],
)
def test_a_table_changed_after_the_snapshot_fails_by_name(
    server: MysqlServer, tmp_path: Path, change: Callable[[MysqlServer, str], None]
) -> None:
    original = server.database(*WIDE_TABLE)
    with pytest.raises(BackupFailed, match="wide") as failure:
        keep(
            MysqlSource(server.url(original)),
            tmp_path,
            meanwhile=lambda _: change(server, original),
        )
    assert "altered after the snapshot" in failure.value.hint


def test_a_table_that_was_read_is_free_for_ddl_unless_the_binary_log_holds_it(
    server: MysqlServer,
) -> None:
    original = server.database(*WIDE_TABLE)
    ((binary_log,),) = server.ask("mysql", "SELECT @@log_bin")
    # MariaDB keeps metadata locks over ROLLBACK TO SAVEPOINT where it writes a binary log.
    waits = pytest.raises(pymysql.OperationalError, match="1205")
    with MysqlSource(server.url(original)).open(workers=1) as snapshot:
        (wide,) = [part for part in snapshot.parts if part.kind is PartKind.DATA]
        with snapshot.read(wide) as stream:
            for _ in stream:
                pass
        with waits if server.brand is MARIADB and binary_log == "1" else nullcontext():
            server.run(original, "SET lock_wait_timeout = 2", "ALTER TABLE wide ADD COLUMN b int")


def test_a_lock_that_is_not_granted_fails_within_its_time_and_says_why(server: MysqlServer) -> None:
    original = server.database(*WIDE_TABLE)
    take, release = HINDRANCES[server.brand.name]
    options = Options(wait_seconds=0)
    why = {
        "mariadb": "was not granted in 1 tries over 0 seconds",
        # An idle session is found before other sessions have to wait for ours.
        "mysql": "still blocked after 0 seconds: .* holds table '.*wide' locked",
    }
    with server.connect(original) as other, other.cursor() as cursor:
        cursor.execute(take)
        refused = pytest.raises(BackupFailed, match=why[server.brand.name])
        with refused, MysqlSource(server.url(original), options=options).open(workers=1):
            pass
        cursor.execute(release)
    with MysqlSource(server.url(original)).open(workers=1) as snapshot:
        assert snapshot.parts


def test_others_wait_behind_a_lock_for_no_longer_than_one_short_try(
    server: MysqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.sources.mysql.rows.lock.PAUSE_SECONDS", 0.01)
    original = server.database(*WIDE_TABLE)
    take, release = HINDRANCES[server.brand.name]
    address = Address.parse(server.url(original))
    with session(address) as holder, server.connect(original) as other, other.cursor() as cursor:
        cursor.execute(take)

        def after_a_try() -> str:
            cursor.execute(release)
            return ""

        kind = shortest_lock(ServerVersion.of(holder))
        with locked(holder, kind, hold_seconds=10, wait_seconds=30, hindrance=after_a_try) as lock:
            assert lock.tries == 2
    assert 900 < lock.others_milliseconds < 5000
    assert lock.milliseconds < lock.others_milliseconds
