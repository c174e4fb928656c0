"""The main job on MariaDB and MySQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.mysql.laboratory import Laboratory, numbers, ticked
from tests.support.encrypted_job import EncryptedJob
from tests.support.hostile_store import EVIL, HostileStore
from tests.support.main_job import CHINOOK, MainJob


class MysqlDatabases:
    """Obeys `main_job.Databases`."""

    def __init__(self, lab: Laboratory, sockets: Path) -> None:
        self._lab = lab
        self._sockets = sockets

    def make(self, *, rows: int = 0) -> str:
        noise = ",".join(f"sha2(concat(seq, '/', {number}), 256)" for number in range(8))
        return self._lab.database(
            "CREATE TABLE filler (id bigint PRIMARY KEY, noise text)",
            f"INSERT INTO filler SELECT seq, concat({noise}) FROM {numbers(rows or 1)}",
        )

    def source(self, database: str) -> dict[str, str]:
        return {"kind": "mysql", "dsn": self._lab.url(database)}

    def refused_source(self, database: str) -> dict[str, str]:
        return {"kind": "mysql", "dsn": self._lab.url(database, user=self._lab.account())}

    def silent_source(self) -> dict[str, str]:
        socket = self._sockets / "no.sock"
        return {"kind": "mysql", "dsn": f"mysql://root@localhost/shop?unix_socket={socket}"}

    def url(self, database: str) -> str:
        return self._lab.url(database)

    def new_name(self) -> str:
        return self._lab.name()

    def empty(self) -> str:
        return self._lab.database()

    def stock_client(self, database: str, part: dict[str, Any]) -> list[str]:
        return self._lab.client(database)

    def checksums(self, database: str) -> dict[str, str]:
        sums = self._lab.checksums(database)
        return {
            table: f"{self._lab.ask(database, f'SELECT count(*) FROM {ticked(table)}')} {checksum}"
            for table, checksum in sums.items()
        }

    def load_chinook(self) -> str:
        self._lab.load("mysql", (CHINOOK / "chinook_mysql.sql").read_bytes())
        return self._lab.will_have_database("Chinook")

    def attack(self, witness: Path) -> str:
        return (
            f"CREATE USER {EVIL};\n\\! id > {witness}\nsystem id > {witness};\n"
            f"SELECT 1 INTO OUTFILE '{witness}';\n"
        )

    def is_there(self, database: str) -> bool:
        count = "SELECT count(*) FROM information_schema.schemata WHERE schema_name = "
        return self._lab.ask("mysql", f"{count}'{database}'") != [("0",)]

    def has_account(self, name: str) -> bool:
        found = self._lab.ask("mysql", f"SELECT count(*) FROM user WHERE user = '{name}'")
        return found != [("0",)]


@pytest.fixture
def databases(lab: Laboratory, tmp_path: Path) -> MysqlDatabases:
    return MysqlDatabases(lab, tmp_path)


class TestMysqlMainJob(MainJob):
    """All of it."""


class TestMysqlEncryptedJob(EncryptedJob):
    """All of it."""


class TestMysqlHostileStore(HostileStore):
    """All of it."""
