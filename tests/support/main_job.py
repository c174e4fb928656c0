"""The main job as an operator runs it: the command line against a real server.

Each server subclasses `MainJob` and defines how its databases are made; the tests are shared.
"""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.installation import Installation
from tests.support.waiting import WAIT_SECONDS

# Test hosts have a copy of the real data here, if there is any.
CHINOOK = Path("/data")


class Databases(Protocol):
    """What the tests need from a server."""

    def make(self, *, rows: int = 0) -> str:
        """Create a database with one table `filler` of that many incompressible rows."""
        ...

    def source(self, database: str) -> dict[str, str]:
        """The `source` of a job that backs it up."""
        ...

    def refused_source(self, database: str) -> dict[str, str]:
        """The same with a wrong password; the caller adds `password_file`."""
        ...

    def silent_source(self) -> dict[str, str]:
        """A source whose server does not exist."""
        ...

    def url(self, database: str) -> str: ...

    def new_name(self) -> str: ...

    def checksums(self, database: str) -> dict[str, str]:
        """The row count and checksum of every table, computed by the server."""
        ...

    def load_chinook(self) -> str:
        """Load the Chinook script and return the name of its database."""
        ...


class MainJob:
    """Every promise of the main job, run once per server."""

    consistency = "snapshot"

    def test_a_backup_is_listed_verified_restored_and_equal(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        self._whole_loop(databases, tmp_path, databases.make(rows=2000))

    def test_chinook_goes_all_the_way(self, databases: Databases, tmp_path: Path) -> None:
        if not CHINOOK.is_dir():
            pytest.skip("the Chinook scripts are not beside this project")
        self._whole_loop(databases, tmp_path, databases.load_chinook())

    def _whole_loop(self, databases: Databases, folder: Path, database: str) -> None:
        installation = Installation(folder, databases.source(database))
        made = installation.run("backup", "shop")
        (listed,) = installation.backups()
        assert listed["backup"] == made["backup"]
        assert listed["consistency"] == self.consistency
        assert installation.run("verify", "shop/latest")["verified"] is True
        restored = databases.new_name()
        installation.run("restore", "shop/latest", "--to", databases.url(restored))
        assert databases.checksums(restored) == databases.checksums(database)
        assert installation.run("status", "shop")["jobs"][0]["last_run"]["outcome"] == "ok"

    def test_one_flipped_byte_is_found_and_its_part_named(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        installation = Installation(tmp_path, databases.source(databases.make(rows=200)))
        installation.run("backup", "shop")
        part = max(
            (path for path in installation.files() if path.name != "manifest.json"),
            key=lambda path: path.stat().st_size,
        )
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
        document = installation.run("verify", "shop/latest", code=31)
        (bad,) = document["bad"]
        assert f"/parts/{bad['part']}" in part.as_posix()
        target = databases.new_name()
        failed = installation.run("restore", "shop/latest", "--to", databases.url(target), code=31)
        assert bad["part"] in failed["error"]

    def test_a_run_in_flight_is_not_joined_and_a_killed_one_leaves_nothing(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        # The highest level: slow enough to be stopped in the middle.
        installation = Installation(
            tmp_path, databases.source(databases.make(rows=40_000)), level=19
        )
        with installation.standing_still() as running:
            skipped = installation.run("backup", "shop", code=40)
            assert str(running.pid) in skipped["error"]
            assert installation.run("list", "shop")["backups"] == []
            running.kill()
        leftovers = installation.files()
        assert leftovers
        assert installation.run("list", "shop")["backups"] == []
        installation.settings["jobs"]["shop"]["compression"]["level"] = 1
        made = installation.run("backup", "shop")
        assert not set(leftovers) & set(installation.files())
        assert [each["backup"] for each in installation.backups()] == [made["backup"]]

    def test_an_interrupted_run_cleans_up_behind_itself(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        installation = Installation(
            tmp_path, databases.source(databases.make(rows=40_000)), level=19
        )
        with installation.standing_still() as running:
            running.send_signal(signal.SIGTERM)
            running.send_signal(signal.SIGCONT)
            assert running.wait(WAIT_SECONDS) == 130
        assert [path.name for path in installation.files()] == ["failed.json"]
        assert (
            installation.run("status", "shop", code=44)["jobs"][0]["last_run"]["exit_code"] == 130
        )

    def test_a_full_repository_keeps_the_previous_backup_and_nothing_else(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        installation = Installation(tmp_path, databases.source(databases.make(rows=3000)))
        made = installation.run("backup", "shop")
        before = installation.files()
        # Files may not grow beyond 64 KiB: the kernel refuses the write like a full disk.
        limited = ["prlimit", "--fsize=65536", *installation.argv("backup", "shop", "--json")]
        done = subprocess.run(limited, capture_output=True, text=True, check=False)
        assert done.returncode == 51, done.stdout + done.stderr
        assert "holdfast prune" in json.loads(done.stdout)["hint"]
        assert {path.name for path in set(installation.files()) - set(before)} == {"failed.json"}
        assert set(before) <= set(installation.files())
        assert [each["backup"] for each in installation.backups()] == [made["backup"]]

    def test_a_repository_that_is_not_mounted_is_said_to_be_missing(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        installation = Installation(tmp_path, databases.source(databases.make()))
        installation.repository.rmdir()
        assert "mounted" in installation.run("backup", "shop", code=50)["hint"]

    def test_a_server_that_is_down_is_said_to_be_down(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        installation = Installation(tmp_path, databases.silent_source())
        for command in (["backup", "shop"], ["check", "shop"]):
            document = installation.run(*command, code=20)
            assert json.dumps(document).count("cannot") >= 1
        assert [path.name for path in installation.files()] == ["failed.json"]

    def test_a_wrong_password_is_refused_and_told_nowhere(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        password = tmp_path / "password"
        password.write_text("not the right one\n")
        password.chmod(0o600)
        source = databases.refused_source(databases.make()) | {"password_file": str(password)}
        installation = Installation(tmp_path, source)
        document = installation.run("backup", "shop", code=21)
        assert "not the right one" not in json.dumps(document)
        assert document["hint"]

    def test_a_restore_does_not_touch_what_is_there(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        database = databases.make(rows=100)
        installation = Installation(tmp_path, databases.source(database))
        installation.run("backup", "shop")
        before = databases.checksums(database)
        refused = installation.run(
            "restore", "shop/latest", "--to", databases.url(database), code=13
        )
        assert "--overwrite" in refused["hint"]
        assert databases.checksums(database) == before
        installation.run("restore", "shop/latest", "--to", databases.url(database), "--overwrite")
        assert databases.checksums(database) == before

    def test_an_unknown_job_and_a_misspelled_key_are_told_the_nearest_one(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        installation = Installation(tmp_path, databases.source(databases.make()))
        assert "shop" in installation.run("backup", "shpo", code=11)["hint"]
        installation.settings["jobs"]["shop"]["repositroy"] = "main"
        document = installation.run("backup", "shop", code=10)
        assert "line" in document["error"]
        assert "repository" in document["hint"]
