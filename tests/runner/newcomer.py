"""The unit tests again: in a closed folder, as another user, on a host full of other programs.

Tests that pass here depend neither on the place of a clone, nor on the user, nor on other installed
programs or variables. Every program of a database server exists in PATH and in `/usr/bin`, and a
test that calls one fails.
"""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import command, project
from tests.runner.jobs import Run
from tests.runner.steps import PROJECT, Step
from tests.support.depth import DEPTH, full

FOREIGN = (
    *("clusterdb", "createdb", "dropdb", "initdb", "pg_amcheck", "pg_archivecleanup"),
    *("pg_basebackup", "pg_combinebackup", "pg_config", "pg_controldata", "pg_ctl", "pg_dump"),
    *("pg_dumpall", "pg_isready", "pg_receivewal", "pg_restore", "pg_verifybackup", "pg_waldump"),
    *("pgbackrest", "pgbench", "postgres", "psql", "vacuumdb", "barman", "wal-g"),
    *("mariabackup", "mariadb", "mariadb-admin", "mariadb-backup", "mariadb-binlog"),
    *("mariadb-dump", "mariadbd", "mbstream", "mydumper", "myloader", "mysql", "mysqladmin"),
    *("mysqlbinlog", "mysqld", "mysqldump", "mysqlsh", "xbstream", "xtrabackup"),
    *("7z", "7za", "lz4", "pigz", "pbzip2", "restic", "borg", "rclone", "aws", "gsutil", "az"),
)
# Debian has a folder of programs for each release of PostgreSQL.
FOREIGN_FOLDERS = ("/usr/bin", "/usr/sbin", "/usr/lib/postgresql/99/bin")
SHADOWED = ("/usr/bin", "/usr/sbin", "/usr/lib")
PROGRAM = """#!/bin/sh
echo "a test called the foreign program $0 $*" | tee -a '{calls}' >&2
exit 97
"""
# Variables that a host may have set: for clients of servers and stores, for text and time.
STRANGE = {
    "AWS_ACCESS_KEY_ID": "foreign",
    "AWS_SECRET_ACCESS_KEY": "foreign",
    "AWS_ENDPOINT_URL": "http://foreign.invalid",
    "LC_ALL": "C",
    "MYSQL_HOST": "foreign.invalid",
    "MYSQL_TCP_PORT": "1",
    "PGDATABASE": "foreign",
    "PGHOST": "foreign.invalid",
    "PGSERVICE": "foreign",
    "TZ": "Pacific/Chatham",
}
# As root: a mount namespace, which ends with the command, with the foreign programs in place.
SHADOW = """
set -eu
foreign=$1; shift
for place in {places}; do
  mount -t overlay overlay -o "lowerdir=$foreign$place:$place" "$place"
done
umask 077
exec "$@"
"""
PLAIN = """
set -eu
shift
umask 077
exec "$@"
"""
# Not needed by any unit test, and more than half of the environment.
LEFT_OUT = ("ansible_collections",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A copy of the project below a folder that its owner alone may enter."""

    folder: Path
    user: str
    shadows: bool

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    @property
    def calls(self) -> Path:
        return self.folder / "calls"

    def step(self, name: str, *tests: str) -> Step:
        """A step that runs these tests in the copy, as its owner."""
        junit = self.folder / f"{name}.xml".replace(" ", "-")
        script = SHADOW.format(places=" ".join(SHADOWED)) if self.shadows else PLAIN
        return Step(
            name=name,
            argv=[
                *(("unshare", "--mount", "--propagation=private") if self.shadows else ()),
                *("sh", "-c", script, "sh", str(self.folder / "foreign")),
                *_as(self.user),
                # Options first: after a variable, env would take `--chdir=` for one more variable.
                *("env", "-i", f"--chdir={self.clone}"),
                *(f"{key}={value}" for key, value in self._environment().items()),
                str(self.clone / ".venv/bin/python"),
                *("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={junit}", *tests),
            ],
            junit=junit,
        )

    def _environment(self) -> dict[str, str]:
        foreign = self.folder / "foreign"
        places = [*(f"{foreign}{place}" for place in SHADOWED[:2]), *os.defpath.split(os.pathsep)]
        return STRANGE | {
            "HOME": str(self.folder / "home"),
            "LOGNAME": self.user,
            "PATH": os.pathsep.join(places),
            "TMPDIR": str(self.folder / "tmp"),
            "USER": self.user,
            DEPTH: "full" if full() else "sample",
        }


def run_elsewhere(run: Run) -> None:
    """Run tests that need no root as another user, and those that need it as root.

    Each runs in a closed folder of its own.
    """
    if os.geteuid() != 0:
        _run_in(run, pwd.getpwuid(os.geteuid()).pw_name, "tests/unit", "-m", "not root")
        return
    _run_in(run, _somebody(), "tests/unit", "-m", "not root")
    _run_in(
        run, "root", *(("tests/unit", "tests/house") if full() else ("tests/unit", "-m", "root"))
    )


def _run_in(run: Run, user: str, *tests: str) -> None:
    with closed(user) as place:
        run(place.step(f"unit elsewhere as {user}", *tests))
        called = place.calls.read_text() if place.calls.exists() else ""
        told = Step(
            name=f"no foreign program was called by {user}",
            argv=["sh", "-c", 'printf %s "$1"; test -z "$1"', "sh", called],
        )
        run(told)


@contextmanager
def closed(user: str) -> Iterator[Place]:
    """Create the place for `user`, and remove it after the block."""
    # A short name: sockets of tests lie below it, and their paths must fit into 107 bytes.
    with tempfile.TemporaryDirectory(prefix="hf-", dir="/tmp") as name:
        folder = Path(name)
        place = Place(folder=folder, user=user, shadows=os.geteuid() == 0)
        _copy_project(place.clone)
        _install_foreign(folder / "foreign", calls=place.calls)
        for each in ("home", "tmp"):
            (folder / each).mkdir()
        if os.geteuid() == 0:
            command.run(["chown", "-R", f"{user}:", name])
        yield place


def _copy_project(clone: Path) -> None:
    """Copy the tracked files, and an environment whose paths are changed to the copy."""
    for path, name in project.project_files():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, clone / name, follow_symlinks=False)
    # The copy leaves out the environment's hidden stamp: nothing is to be installed into it.
    own = Path(sys.prefix)
    shutil.copytree(own, clone / ".venv", symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    naming = [
        *(clone / ".venv/bin").iterdir(),
        *(clone / ".venv").glob("lib/*/site-packages/*.pth"),
    ]
    for path in naming:
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if os.fsencode(PROJECT) in content:
            path.write_bytes(content.replace(os.fsencode(PROJECT), os.fsencode(clone)))


def _install_foreign(folder: Path, *, calls: Path) -> None:
    """Install programs that record their call and fail."""
    for place in (Path(f"{folder}{name}") for name in FOREIGN_FOLDERS):
        place.mkdir(parents=True)
        for name in FOREIGN:
            program = place / name
            program.write_text(PROGRAM.format(calls=calls))
            program.chmod(0o755)


def _as(user: str) -> Sequence[str]:
    if os.geteuid() != 0:
        return ()
    return ("setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups")


def _somebody() -> str:
    """A user of this host who is neither root nor the one that tests use as a stranger."""
    names = [each.pw_name for each in pwd.getpwall() if each.pw_uid not in (0, 65534)]
    return "games" if "games" in names else names[0]
