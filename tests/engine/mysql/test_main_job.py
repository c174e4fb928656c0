"""The main job on MariaDB and MySQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.encrypted_job import EncryptedJob
from tests.support.hostile_store import EVIL, HostileStore
from tests.support.main_job import CHINOOK, MainJob
from tests.support.mysql_server import MysqlServer, numbers, ticked


class MysqlDatabases:
    """Obeys `main_job.Databases`."""

    def __init__(self, server: MysqlServer, sockets: Path) -> None:
        self._server = server
        self._sockets = sockets

    def make(self, *, rows: int = 0) -> str:
        noise = ",".join(f"sha2(concat(seq, '/', {number}), 256)" for number in range(8))
        return self._server.database(
            "CREATE TABLE filler (id bigint PRIMARY KEY, noise text)",
            f"INSERT INTO filler SELECT seq, concat({noise}) FROM {numbers(rows or 1)}",
        )

    def source(self, database: str) -> dict[str, str]:
        return {"kind": "mysql", "dsn": self._server.url(database)}

    def refused_source(self, database: str) -> dict[str, str]:
        return {"kind": "mysql", "dsn": self._server.url(database, user=self._server.account())}

    def silent_source(self) -> dict[str, str]:
        socket = self._sockets / "no.sock"
        return {"kind": "mysql", "dsn": f"mysql://root@localhost/shop?unix_socket={socket}"}

    def url(self, database: str) -> str:
        return self._server.url(database)

    def new_name(self) -> str:
        return self._server.name()

    def empty(self) -> str:
        return self._server.database()

    def stock_client(self, database: str, part: dict[str, Any]) -> list[str]:
        return self._server.client(database)

    def checksums(self, database: str) -> dict[str, str]:
        sums = self._server.checksums(database)
        count = "SELECT count(*) FROM"
        return {
            table: f"{self._server.ask(database, f'{count} {ticked(table)}')} {checksum}"
            for table, checksum in sums.items()
        }

    def load_chinook(self) -> str:
        self._server.load("mysql", (CHINOOK / "chinook_mysql.sql").read_bytes())
        return self._server.will_have_database("Chinook")

    def attack(self, witness: Path) -> str:
        return (
            f"CREATE USER {EVIL};\n\\! id > {witness}\nsystem id > {witness};\n"
            f"SELECT 1 INTO OUTFILE '{witness}';\n"
        )

    def is_there(self, database: str) -> bool:
        count = "SELECT count(*) FROM information_schema.schemata WHERE schema_name = "
        return self._server.ask("mysql", f"{count}'{database}'") != [("0",)]

    def has_account(self, name: str) -> bool:
        found = self._server.ask("mysql", f"SELECT count(*) FROM user WHERE user = '{name}'")
        return found != [("0",)]


@pytest.fixture
def databases(server: MysqlServer, tmp_path: Path) -> MysqlDatabases:
    return MysqlDatabases(server, tmp_path)


class TestMysqlMainJob(MainJob):
    """All of it."""


class TestMysqlEncryptedJob(EncryptedJob):
    """All of it."""


class TestMysqlHostileStore(HostileStore):
    """All of it."""
