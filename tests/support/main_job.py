"""The main job as an operator meets it: the command line against a real server.

Each server subclasses `MainJob` and says how its databases are made; the tests are the same.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from tests.support.waiting import WAIT_SECONDS, until

PROGRAM = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]
# A host of the tests has a copy of the real data where there is any.
CHINOOK = Path("/data")


class Databases(Protocol):
    """What a test needs of a server."""

    def make(self, *, rows: int = 0) -> str:
        """A database with one table `filler` of that many incompressible rows."""
        ...

    def source(self, database: str) -> dict[str, str]:
        """The `source` of a job that backs it up."""
        ...

    def refused_source(self, database: str) -> dict[str, str]:
        """The same with a password that is wrong; `password_file` is still to be added."""
        ...

    def silent_source(self) -> dict[str, str]:
        """A source whose server is not there."""
        ...

    def url(self, database: str) -> str: ...

    def new_name(self) -> str: ...

    def checksums(self, database: str) -> dict[str, str]:
        """Rows and checksum of every table, computed by the server."""
        ...

    def load_chinook(self) -> str:
        """Load the Chinook script; the database that it makes."""
        ...


class Site:
    """A configuration with one job, a repository and a state folder of its own."""

    def __init__(self, folder: Path, source: dict[str, Any], *, level: int = 3) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.repository.mkdir(mode=0o700)
        (folder / "state").mkdir(mode=0o700)
        self.settings: dict[str, Any] = {
            "state_directory": str(folder / "state"),
            "repositories": {"main": {"kind": "local", "path": str(self.repository)}},
            "jobs": {
                "shop": {
                    "source": {"engine": "native", **source},
                    "repository": "main",
                    "compression": {"codec": "zstd", "level": level, "level_cap": level},
                    "schedule": "*-*-* 02:00:00",
                }
            },
        }

    def argv(self, *arguments: str) -> list[str]:
        config = self.folder / "holdfast.yaml"
        config.write_text(yaml.safe_dump(self.settings))
        return [*PROGRAM, "--config", str(config), *arguments]

    @property
    def job(self) -> dict[str, Any]:
        """The settings of the job, to be changed before a command is run."""
        job: dict[str, Any] = self.settings["jobs"]["shop"]
        return job

    def run(
        self, *arguments: str, code: int = 0, environment: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """One command with --json; its document, once its exit code is the expected one."""
        done = subprocess.run(
            self.argv(*arguments, "--json"),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | (environment or {}),
        )
        assert done.returncode == code, done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout or "{}")
        return document

    def kept(self, *kinds: str) -> dict[str, int]:
        """What unfinished runs have written down, with its inode: a part taken again has another.

        Of the `kinds` that another run has no reason to take again.
        """
        journals = (self.folder / "state/unfinished").rglob("*.jsonl")
        lines = [line for path in journals for line in path.read_text().splitlines()[1:]]
        keys = [part["key"] for part in map(json.loads, lines) if part["kind"] in kinds]
        return {key: (self.repository / key).stat().st_ino for key in keys}

    def backups(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.run("list", "shop")["backups"]
        return found

    def files(self) -> list[Path]:
        """What is stored of backups; who may write is noted elsewhere."""
        return sorted(path for path in self.repository.glob("shop/**/*") if path.is_file())

    def manifests(self) -> list[dict[str, Any]]:
        """What is stored about each backup."""
        found = sorted(self.repository.rglob("manifest.json"))
        return [json.loads(path.read_text())["manifest"] for path in found]

    @contextmanager
    def standing_still(self) -> Iterator[subprocess.Popen[bytes]]:
        """A backup that has begun to store and was then stopped in its tracks."""
        with subprocess.Popen(
            self.argv("backup", "shop"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as running:
            try:
                until(lambda: bool(self.files()) or running.poll() is not None)
                running.send_signal(signal.SIGSTOP)
                assert running.poll() is None, "the backup ended before it could be stopped"
                yield running
            finally:
                if running.poll() is None:
                    running.kill()

    @contextmanager
    def stopped_at(self, failpoint: str) -> Iterator[None]:
        """A backup that stands still at `failpoint` while the block is at work, and then ends
        well."""
        environment = os.environ | {"HOLDFAST_FAILPOINT": f"{failpoint}:1:stop"}
        with subprocess.Popen(
            self.argv("backup", "shop"),
            env=environment,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as running:
            try:
                _, status = os.waitpid(running.pid, os.WUNTRACED)
                assert os.WIFSTOPPED(status), f"it ended before {failpoint}"
                yield
            finally:
                running.send_signal(signal.SIGCONT)
            _, told = running.communicate(timeout=WAIT_SECONDS)
            assert running.returncode == 0, told


class MainJob:
    """Every promise of the main job, once a server."""

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
        site = Site(folder, databases.source(database))
        made = site.run("backup", "shop")
        (listed,) = site.backups()
        assert listed["backup"] == made["backup"]
        assert listed["consistency"] == self.consistency
        assert site.run("verify", "shop/latest")["verified"] is True
        restored = databases.new_name()
        site.run("restore", "shop/latest", "--to", databases.url(restored))
        assert databases.checksums(restored) == databases.checksums(database)
        assert site.run("status", "shop")["jobs"][0]["last_run"]["outcome"] == "ok"

    def test_one_flipped_byte_is_found_and_its_part_named(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        site = Site(tmp_path, databases.source(databases.make(rows=200)))
        site.run("backup", "shop")
        part = max(
            (path for path in site.files() if path.name != "manifest.json"),
            key=lambda path: path.stat().st_size,
        )
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
        document = site.run("verify", "shop/latest", code=31)
        (bad,) = document["bad"]
        assert f"/parts/{bad['part']}" in part.as_posix()
        target = databases.new_name()
        failed = site.run("restore", "shop/latest", "--to", databases.url(target), code=31)
        assert bad["part"] in failed["error"]

    def test_a_run_in_flight_is_not_joined_and_a_killed_one_leaves_nothing(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        # The highest level: slow enough to be caught at work.
        site = Site(tmp_path, databases.source(databases.make(rows=40_000)), level=19)
        with site.standing_still() as running:
            skipped = site.run("backup", "shop", code=40)
            assert str(running.pid) in skipped["error"]
            assert site.run("list", "shop")["backups"] == []
            running.kill()
        leftovers = site.files()
        assert leftovers
        assert site.run("list", "shop")["backups"] == []
        site.settings["jobs"]["shop"]["compression"]["level"] = 1
        made = site.run("backup", "shop")
        assert not set(leftovers) & set(site.files())
        assert [each["backup"] for each in site.backups()] == [made["backup"]]

    def test_an_interrupted_run_cleans_up_behind_itself(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        site = Site(tmp_path, databases.source(databases.make(rows=40_000)), level=19)
        with site.standing_still() as running:
            running.send_signal(signal.SIGTERM)
            running.send_signal(signal.SIGCONT)
            assert running.wait(WAIT_SECONDS) == 130
        assert [path.name for path in site.files()] == ["failed.json"]
        assert site.run("status", "shop", code=44)["jobs"][0]["last_run"]["exit_code"] == 130

    def test_a_full_repository_keeps_the_previous_backup_and_nothing_else(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        site = Site(tmp_path, databases.source(databases.make(rows=3000)))
        made = site.run("backup", "shop")
        before = site.files()
        # No file may grow beyond 64 KiB: the kernel refuses the write as a full disk does.
        limited = ["prlimit", "--fsize=65536", *site.argv("backup", "shop", "--json")]
        done = subprocess.run(limited, capture_output=True, text=True, check=False)
        assert done.returncode == 51, done.stdout + done.stderr
        assert "holdfast prune" in json.loads(done.stdout)["hint"]
        assert {path.name for path in set(site.files()) - set(before)} == {"failed.json"}
        assert set(before) <= set(site.files())
        assert [each["backup"] for each in site.backups()] == [made["backup"]]

    def test_a_repository_that_is_not_mounted_is_said_to_be_missing(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        site = Site(tmp_path, databases.source(databases.make()))
        site.repository.rmdir()
        assert "mounted" in site.run("backup", "shop", code=50)["hint"]

    def test_a_server_that_is_down_is_said_to_be_down(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        site = Site(tmp_path, databases.silent_source())
        for command in (["backup", "shop"], ["check", "shop"]):
            document = site.run(*command, code=20)
            assert json.dumps(document).count("cannot") >= 1
        assert [path.name for path in site.files()] == ["failed.json"]

    def test_a_wrong_password_is_refused_and_told_nowhere(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        password = tmp_path / "password"
        password.write_text("not the right one\n")
        password.chmod(0o600)
        source = databases.refused_source(databases.make()) | {"password_file": str(password)}
        site = Site(tmp_path, source)
        document = site.run("backup", "shop", code=21)
        assert "not the right one" not in json.dumps(document)
        assert document["hint"]

    def test_a_restore_does_not_touch_what_is_there(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        database = databases.make(rows=100)
        site = Site(tmp_path, databases.source(database))
        site.run("backup", "shop")
        before = databases.checksums(database)
        refused = site.run("restore", "shop/latest", "--to", databases.url(database), code=13)
        assert "--overwrite" in refused["hint"]
        assert databases.checksums(database) == before
        site.run("restore", "shop/latest", "--to", databases.url(database), "--overwrite")
        assert databases.checksums(database) == before

    def test_an_unknown_job_and_a_misspelled_key_are_told_the_nearest_one(
        self, databases: Databases, tmp_path: Path
    ) -> None:
        site = Site(tmp_path, databases.source(databases.make()))
        assert "shop" in site.run("backup", "shpo", code=11)["hint"]
        site.settings["jobs"]["shop"]["repositroy"] = "main"
        document = site.run("backup", "shop", code=10)
        assert "line" in document["error"]
        assert "repository" in document["hint"]
