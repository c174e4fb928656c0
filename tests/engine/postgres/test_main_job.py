"""The main job on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from psycopg.conninfo import make_conninfo

from tests.engine.postgres.equality import checksums, program
from tests.support.encrypted_job import EncryptedJob, encrypted_installation
from tests.support.hostile_store import EVIL, HostileStore
from tests.support.main_job import CHINOOK, MainJob
from tests.support.postgres_server import PostgresServer


class PostgresDatabases:
    """Obeys `main_job.Databases`."""

    def __init__(self, server: PostgresServer, sockets: Path) -> None:
        self._server = server
        self._sockets = sockets

    def make(self, *, rows: int = 0) -> str:
        return self._server.database(
            "CREATE TABLE filler (id bigint PRIMARY KEY, noise text)",
            "INSERT INTO filler SELECT n, (SELECT string_agg(md5(n::text || k), '')"
            f" FROM generate_series(1, 16) k) FROM generate_series(1, {rows}) n",
        )

    def source(self, database: str) -> dict[str, str]:
        return {"kind": "postgres", "dsn": self._server.conninfo(database)}

    def refused_source(self, database: str) -> dict[str, str]:
        role = self._server.role(password="the right one")
        return {"kind": "postgres", "dsn": self._server.over_tcp(database, user=role)}

    def silent_source(self) -> dict[str, str]:
        return {"kind": "postgres", "dsn": make_conninfo(host=str(self._sockets), dbname="shop")}

    def url(self, database: str) -> str:
        return f"postgresql:///{quote(database, safe='')}?host=/run/postgresql&user=postgres"

    def new_name(self) -> str:
        return self._server.name()

    def empty(self) -> str:
        return self._server.database()

    def stock_client(self, database: str, part: dict[str, Any]) -> list[str]:
        psql = program("psql", self._server.superuser)
        statement = part["details"].get("statement")
        return [
            *(psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self._server.conninfo(database)),
            *(["-c", statement] if statement else []),
        ]

    def checksums(self, database: str) -> dict[str, str]:
        found = checksums(self._server.conninfo(database))
        return {".".join(table): str(value) for table, value in found.items()}

    def load_chinook(self) -> str:
        script = CHINOOK / "chinook_postgresql.sql"
        psql = program("psql", self._server.superuser)
        subprocess.run(
            [psql, "-qX", "-v", "ON_ERROR_STOP=1", "-d", self._server.superuser, "-f", str(script)],
            check=True,
            capture_output=True,
        )
        return self._server.will_have_database("chinook")

    def attack(self, witness: Path) -> str:
        self._server.will_have_role(EVIL)
        return f"\\! id > {witness}\nCREATE ROLE {EVIL} SUPERUSER;\n\\! id > {witness}\n"

    def is_there(self, database: str) -> bool:
        return database in self._server.databases()

    def has_account(self, name: str) -> bool:
        return bool(
            self._server.ask("postgres", f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'")
        )


@pytest.fixture
def databases(server: PostgresServer, tmp_path: Path) -> PostgresDatabases:
    return PostgresDatabases(server, tmp_path)


class TestPostgresMainJob(MainJob):
    """All of it."""


class TestPostgresEncryptedJob(EncryptedJob):
    """All of it."""


class TestPostgresHostileStore(HostileStore):
    """All of it."""


def test_a_sealed_large_object_is_kept_once_and_comes_back(
    server: PostgresServer, databases: PostgresDatabases, tmp_path: Path
) -> None:
    content = os.urandom(3 << 20)
    database = server.database(f"SELECT lo_from_bytea(4711, '\\x{content.hex()}')")
    installation = encrypted_installation(tmp_path, databases.source(database))
    first, second = installation.run("backup", "shop"), installation.run("backup", "shop")
    assert (first["metrics"]["blobs_stored"], second["metrics"]["blobs_stored"]) == (1, 0)
    identity = tmp_path / "identity"
    assert (
        installation.run("verify", "shop/latest", "--identity", str(identity))["verified"] is True
    )
    restored = databases.new_name()
    to = ("--to", databases.url(restored))
    installation.run("restore", "shop/latest", *to, "--identity", str(identity))
    assert server.ask(restored, "SELECT lo_get(4711)") == [(content,)]
