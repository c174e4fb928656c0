"""The main job on PostgreSQL with the engine `tools`."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.engine.postgres.artefacts import children
from tests.engine.postgres.test_main_job import PostgresDatabases
from tests.support.hostile_store import HostileStore
from tests.support.installation import Installation
from tests.support.main_job import MainJob
from tests.support.postgres_server import PostgresServer


class ToolsDatabases(PostgresDatabases):
    """The same databases, backed up by the other engine."""

    def source(self, database: str) -> dict[str, str]:
        return super().source(database) | {"engine": "tools"}

    def refused_source(self, database: str) -> dict[str, str]:
        return super().refused_source(database) | {"engine": "tools"}

    def silent_source(self) -> dict[str, str]:
        return super().silent_source() | {"engine": "tools"}


@pytest.fixture
def databases(server: PostgresServer, tmp_path: Path) -> ToolsDatabases:
    return ToolsDatabases(server, tmp_path)


class TestToolsHostileStore(HostileStore):
    """All of it."""


class TestToolsMainJob(MainJob):
    """All of it, and failures that only this engine can have."""

    def test_a_pg_dump_that_is_killed_leaves_only_the_record_of_its_failure(
        self, databases: ToolsDatabases, tmp_path: Path
    ) -> None:
        installation = Installation(
            tmp_path, databases.source(databases.make(rows=80_000)), level=6
        )
        with installation.standing_still() as running:
            (pid,) = children("pg_dump", of=running.pid)
            os.kill(pid, signal.SIGKILL)
            running.send_signal(signal.SIGCONT)
            assert running.wait(120) == 30
        assert [path.name for path in installation.files()] == ["failed.json"]
        assert installation.run("status", "shop", code=44)["jobs"][0]["last_run"]["exit_code"] == 30

    def test_the_dump_is_stored_as_pg_dump_compressed_it(
        self, databases: ToolsDatabases, tmp_path: Path
    ) -> None:
        installation = Installation(tmp_path, databases.source(databases.make(rows=10)))
        installation.run("backup", "shop")
        (stored,) = (path for path in installation.files() if path.suffix == ".dump")
        listed = subprocess.run(
            ["pg_restore", "--list", str(stored)], check=True, capture_output=True, text=True
        )
        assert "TABLE DATA public filler" in listed.stdout

    def test_one_table_comes_back_by_its_name(
        self, databases: ToolsDatabases, tmp_path: Path
    ) -> None:
        database = databases.make(rows=10)
        installation = Installation(tmp_path, databases.source(database))
        installation.run("backup", "shop")
        restored, url = databases.new_name(), databases.url
        installation.run(
            "restore", "shop/latest", "--to", url(restored), "--table", "public.filler"
        )
        assert databases.checksums(restored) == databases.checksums(database)
        refused = installation.run(
            "restore", "shop/latest", "--to", url(databases.new_name()), "--table", "x", code=32
        )
        assert refused["error"] == "cannot restore table 'x': the backup has no rows of it"
