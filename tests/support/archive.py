"""A cluster that archives its WAL through holdfast, and is recovered to a point in time."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from tests.support.clusters import Cluster, folder_for_cluster
from tests.support.installation import Installation
from tests.support.waiting import until

POINTS = "CREATE TABLE points (id int, at timestamptz DEFAULT clock_timestamp())"


class Archive:
    """A cluster, an installation with its physical job, and the archived WAL."""

    def __init__(self, server: Cluster, folder: Path, **source: Any) -> None:
        self.server = server
        settings = {"kind": "postgres", "method": "physical", "dsn": server.dsn, **source}
        self.installation = Installation(folder, settings, level=1)
        self.installation.job["max_concurrent_processes"] = 2

    def on(self, server: Cluster) -> Archive:
        """The same archive for another server."""
        other = copy(self)
        other.server = server
        return other

    def begin(self, *options: str) -> None:
        """Configure the server to archive its WAL to the repository from now on."""
        argv = self.installation.argv("wal", "push", "shop", *options)
        command = " ".join(shlex.quote(each) for each in argv).replace("'", "''")
        self.server.configure(f"archive_mode = on\narchive_command = '{command} %p'")
        self.server.stop()
        self.server.start()
        self.server.ask(POINTS)

    def continued_by(self, promoted: Cluster) -> Archive:
        """The same archive, into which a restored and promoted server archives from now on."""
        command = subprocess.list2cmdline(self.installation.argv("wal", "push", "shop"))
        promoted.configure("archive_command = '{} %p'".format(command.replace("'", "''")))
        promoted.ask("ALTER SYSTEM SET archive_mode = on")
        promoted.stop()
        promoted.start()
        return self.on(promoted)

    def mark(self, number: int) -> str:
        """Insert a row that shows how far a recovery went; returns the LSN after it."""
        self.server.ask(f"INSERT INTO points VALUES ({number})")
        ((lsn,),) = self.server.ask("SELECT pg_current_wal_lsn()::text")
        return str(lsn)

    def time(self) -> str:
        ((at,),) = self.server.ask("SELECT clock_timestamp()::text")
        return str(at)

    def switch(self) -> str:
        """End a segment and wait until it is archived; returns its name."""
        self.server.ask("SELECT pg_logical_emit_message(true, 'x', 'y')")
        ((name,),) = self.server.ask("SELECT pg_walfile_name(pg_switch_wal())")
        until(lambda: str(name) in self.names())
        return str(name)

    def names(self) -> list[str]:
        """The names of archived files, by their records."""
        found = self.installation.repository.glob("shop.wal/*/*/*/manifest.json")
        return sorted(_as_archived(path.parent.name) for path in found)

    def lines(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.installation.run("wal", "list", "shop")["timelines"]
        return found

    def remove(self, name: str) -> None:
        for path in self.installation.repository.glob(f"shop.wal/*/*/{name.lower()}/*"):
            path.unlink()

    @contextmanager
    def recovered(
        self,
        *options: str,
        backup: str = "shop/latest",
        server: str = "",
        code: int = 0,
        spaces: Path | None = None,
    ) -> Iterator[tuple[Cluster, dict[str, Any]]]:
        """The restored and started cluster with the printed document; it is stopped afterwards."""
        with folder_for_cluster() as folder:
            back = Cluster(folder)
            try:
                where = f"file://{back.data}" + (f"?tablespaces={spaces}" if spaces else "")
                told = self.installation.run(
                    *("restore", backup, "--to", where, "--start"),
                    *(
                        "--start-options",
                        f"-k {folder} {server}",
                        "--start-timeout",
                        "10m",
                        *options,
                    ),
                    code=code,
                )
                yield back, told
            except BaseException:
                # pytest shows this only if the test fails.
                log = Path(f"{back.data}-start.log")
                sys.stdout.write(log.read_text() if log.exists() else "no server was started\n")
                raise
            finally:
                if (back.data / "postmaster.pid").exists():
                    back.stop("immediate")


def points(server: Cluster) -> list[int]:
    return [int(str(number)) for (number,) in server.ask("SELECT id FROM points ORDER BY id")]


def _as_archived(name: str) -> str:
    digits, dot, word = name.partition(".")
    return f"{digits.upper()}{dot}{word}"


def failed(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False)
