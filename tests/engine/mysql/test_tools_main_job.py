"""The main job on MariaDB and MySQL with the engine `tools`: whole, table by table, and broken."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.engine.mysql.test_main_job import MysqlDatabases
from tests.support.depth import deep
from tests.support.hostile_store import HostileStore
from tests.support.installation import Installation
from tests.support.main_job import MainJob
from tests.support.mysql_server import PASSWORD, MysqlServer
from tests.support.processes import children, named
from tests.support.waiting import WAIT_SECONDS, until

DUMPS = ("mariadb-dump", "mysqldump")
COMPRESSORS = ("gzip", "pigz", "zstd", "7z")
# Each is a dump of its own; the incident itself (600 of them in a unit) is a scenario of molecule.
PIECES = deep(600, sample=150)


class ToolsDatabases(MysqlDatabases):
    """The same databases, dumped whole by the server's own program."""

    extra: ClassVar[dict[str, Any]] = {"engine": "tools"}

    def source(self, database: str) -> dict[str, str]:
        return super().source(database) | self.extra

    def refused_source(self, database: str) -> dict[str, str]:
        return super().refused_source(database) | self.extra

    def silent_source(self) -> dict[str, str]:
        return super().silent_source() | self.extra


class TableDatabases(ToolsDatabases):
    """Dumped table by table."""

    extra: ClassVar[dict[str, Any]] = {"engine": "tools", "backup_as_tables": True}


class TestDumpHostileStore(HostileStore):
    """All of it, with one dump of a database."""

    @pytest.fixture
    def databases(self, server: MysqlServer, tmp_path: Path) -> ToolsDatabases:
        return ToolsDatabases(server, tmp_path)


class TestDumpsOfTablesHostileStore(HostileStore):
    """All of it, with a dump a table."""

    @pytest.fixture
    def databases(self, server: MysqlServer, tmp_path: Path) -> TableDatabases:
        return TableDatabases(server, tmp_path)


class TestDumpOfADatabase(MainJob):
    """All of it, and failures that only a pipe of programs can have."""

    consistency = "per-database"

    @pytest.fixture
    def databases(self, server: MysqlServer, tmp_path: Path) -> ToolsDatabases:
        return ToolsDatabases(server, tmp_path)

    @pytest.mark.parametrize(
        ("victim", "names"), [("dump", DUMPS), ("compressor", COMPRESSORS)], ids=lambda each: each
    )
    def test_a_member_of_the_pipe_that_is_killed_is_named_and_leaves_nothing(
        self, databases: ToolsDatabases, tmp_path: Path, victim: str, names: tuple[str, ...]
    ) -> None:
        installation = piped(tmp_path, databases.source(databases.make(rows=40_000)), "pigz")
        with installation.standing_still() as running:
            (member,) = children(running.pid, *names)
            os.kill(member.pid, signal.SIGKILL)
            running.send_signal(signal.SIGCONT)
            assert running.wait(WAIT_SECONDS) == 30
        assert named(*DUMPS, "pigz") == []
        (failed,) = installation.files()
        assert failed.name == "failed.json"
        last = installation.run("status", "shop", code=44)["jobs"][0]["last_run"]
        assert f"{member.name} ended with SIGKILL" in last["error"]

    def test_a_signal_ends_the_whole_pipe(self, databases: ToolsDatabases, tmp_path: Path) -> None:
        installation = piped(tmp_path, databases.source(databases.make(rows=40_000)), "pigz")
        with installation.standing_still() as running:
            assert len(children(running.pid, *DUMPS, "pigz")) == 2
            running.send_signal(signal.SIGINT)
            running.send_signal(signal.SIGCONT)
            assert running.wait(WAIT_SECONDS) == 130
        assert named(*DUMPS, "pigz") == []

    def test_a_dump_that_waits_for_ever_is_ended_in_time(
        self, server: MysqlServer, databases: ToolsDatabases, tmp_path: Path
    ) -> None:
        database = databases.make(rows=10)
        installation = piped(tmp_path, databases.source(database), "gzip")
        installation.job["timeout"] = "3s"
        with server.connect(database) as held, held.cursor() as cursor:
            cursor.execute("LOCK TABLES filler WRITE")
            assert "longer than" in installation.run("backup", "shop", code=33)["error"]
        assert named(*DUMPS, "gzip") == []

    @pytest.mark.parametrize(
        ("program", "asked", "level"),
        [("gzip", 9, 6), ("pigz", 6, 6), ("zstd", 19, 6), ("7z", 1, 1)],
    )
    def test_every_compressor_keeps_what_comes_back_equal(
        self, databases: ToolsDatabases, tmp_path: Path, program: str, asked: int, level: int
    ) -> None:
        database = databases.make(rows=3000)
        installation = piped(tmp_path, databases.source(database), program)
        installation.job["compression"]["level"] = asked
        installation.run("backup", "shop")
        (manifest,) = installation.manifests()
        assert manifest["tools"][program] == f"level {level}"
        assert installation.run("verify", "shop/latest")["verified"] is True
        restored = databases.new_name()
        installation.run("restore", "shop/latest", "--to", databases.url(restored))
        assert databases.checksums(restored) == databases.checksums(database)

    @pytest.mark.parametrize("missing", ["pigz", "dump"])
    def test_a_missing_program_is_named_with_its_package(
        self, databases: ToolsDatabases, tmp_path: Path, missing: str
    ) -> None:
        installation = piped(tmp_path, databases.source(databases.make()), "pigz")
        left = ("pigz",) if missing == "dump" else DUMPS
        environment = {"PATH": str(only(tmp_path, *left))}
        for command in ("check", "backup"):
            document = installation.run(command, "shop", code=14, environment=environment)
            assert "it is not installed" in str(document)
            assert ("client" if missing == "dump" else "install pigz") in str(document)

    def test_a_password_is_in_no_list_of_processes(
        self, server: MysqlServer, databases: ToolsDatabases, tmp_path: Path
    ) -> None:
        database = databases.make(rows=40_000)
        secret = tmp_path / "password"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o600)
        source = databases.source(database) | {
            "dsn": server.url(database, user=server.account("ALL ON *.*")),
            "password_file": str(secret),
        }
        installation = piped(tmp_path, source, "pigz")
        with installation.standing_still() as running:
            shown = b"".join(
                Path(f"/proc/{each.pid}/{file}").read_bytes()
                for each in children(running.pid, *DUMPS, "pigz")
                for file in ("cmdline", "environ")
            )
            running.send_signal(signal.SIGTERM)
            running.send_signal(signal.SIGCONT)
            running.wait(WAIT_SECONDS)
        assert b"--defaults-file=/dev/fd/" in shown
        assert PASSWORD.encode() not in shown

    def test_a_single_table_of_it_is_refused(
        self, databases: ToolsDatabases, tmp_path: Path
    ) -> None:
        installation = Installation(tmp_path, databases.source(databases.make(rows=10)))
        installation.run("backup", "shop")
        url = databases.url(databases.new_name())
        refused = installation.run(
            "restore", "shop/latest", "--to", url, "--table", "filler", code=23
        )
        assert "backup_as_tables" in refused["hint"]


class TestDumpsOfTables(MainJob):
    """All of it, and hundreds of tables."""

    consistency = "per-table"

    @pytest.fixture
    def databases(self, server: MysqlServer, tmp_path: Path) -> TableDatabases:
        return TableDatabases(server, tmp_path)

    def test_hundreds_of_tables_never_have_more_pipes_than_slots_and_leave_no_zombie(
        self, server: MysqlServer, databases: TableDatabases, tmp_path: Path
    ) -> None:
        tables = [f"CREATE TABLE t{number} (id int PRIMARY KEY)" for number in range(PIECES)]
        rows = [f"INSERT INTO t{number} VALUES ({number})" for number in range(PIECES)]
        database = server.database(*tables, *rows)
        installation = piped(tmp_path, databases.source(database), "gzip")
        installation.job["max_concurrent_processes"] = 2
        seen = watched(installation)
        assert seen["code"] == 0
        assert 1 <= seen["pipes"] <= 2
        assert seen["members"] <= 4
        assert named(*DUMPS, "gzip") == []
        restored = databases.new_name()
        installation.run("restore", "shop/latest", "--to", databases.url(restored))
        assert databases.checksums(restored) == databases.checksums(database)
        assert len(databases.checksums(restored)) == PIECES

    def test_one_table_comes_back_by_its_name(
        self, databases: TableDatabases, tmp_path: Path
    ) -> None:
        database = databases.make(rows=10)
        installation = Installation(tmp_path, databases.source(database))
        installation.run("backup", "shop")
        restored, url = databases.new_name(), databases.url
        installation.run("restore", "shop/latest", "--to", url(restored), "--table", "filler")
        assert databases.checksums(restored) == databases.checksums(database)


def piped(folder: Path, source: dict[str, Any], program: str) -> Installation:
    """An installation whose dumps go through `program`."""
    installation = Installation(folder, source)
    installation.job["compression"] = {"program": program}
    return installation


def only(folder: Path, *programs: str) -> Path:
    """A folder for PATH that holds these programs and no other."""
    place = folder / "programs"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name in programs:
        if path := shutil.which(name):
            (place / name).symlink_to(path)
    return place


def watched(installation: Installation) -> dict[str, int]:
    """Run the backup, and count its children while it runs."""
    pipes = members = 0
    ends = time.monotonic() + WAIT_SECONDS
    with subprocess.Popen(
        installation.argv("backup", "shop"), stderr=subprocess.DEVNULL
    ) as running:
        while running.poll() is None and time.monotonic() < ends:
            found = children(running.pid)
            members = max(members, len(found))
            pipes = max(pipes, len([each for each in found if each.name in DUMPS]))
        until(lambda: running.poll() is not None)
    return {"code": running.returncode, "pipes": pipes, "members": members}
