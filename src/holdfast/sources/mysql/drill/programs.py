"""The server's own programs on this host: the server, and what makes an empty data directory."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.model.errors import ToolMissing
from holdfast.runtime.process import ChildFailed, output_of
from holdfast.sources.mysql.dump.programs import Program, described
from holdfast.sources.mysql.server.session import MARIADB, MYSQL

SERVERS = {MARIADB: ("mariadbd", "mysqld"), MYSQL: ("mysqld",)}
PACKAGES = {MARIADB: "mariadb-server", MYSQL: "mysql-server"}
INSTALLERS = ("mariadb-install-db", "mysql_install_db")
# An ordinary user's PATH often lacks them.
SERVER_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")
PROFILES = Path("/etc/apparmor.d")
APPARMOR = Path("/sys/module/apparmor/parameters/enabled")
_RULE = re.compile(r"^\s*[^#\s]", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """The server that a backup came from; its files fit only a server of the same release."""

    kind: str
    version: str
    is_files: bool

    @property
    def release(self) -> tuple[int, int]:
        major, minor, *_ = [*re.findall(r"\d+", self.version), "0", "0"]
        return int(major), int(minor)

    def admits(self, program: Program) -> bool:
        if program.kind != self.kind:
            return False
        return program.release == self.release if self.is_files else program.release >= self.release

    @property
    def wanted(self) -> str:
        """The server in words."""
        number = ".".join(map(str, self.release))
        return f"{self.kind} {number}" if self.is_files else f"{self.kind} {number} or later"


def find_server(backed_up: BackedUp) -> Program:
    """The server program on this host that `backed_up` admits; raises `ToolMissing`.

    No file is read or written but the program: it tells its version and ends.
    """
    found: list[Program] = []
    hint = f"install {PACKAGES[backed_up.kind]}, of {backed_up.wanted}"
    for path in _paths(SERVERS[backed_up.kind]):
        program = _asked(path)
        if program is not None and backed_up.admits(program):
            return program
        found += [program] if program else []
    if not found:
        raise ToolMissing(
            f"cannot run '{SERVERS[backed_up.kind][0]}': it is not installed", hint=hint
        )
    other = found[0]
    raise ToolMissing(
        f"cannot drill with '{other.path}': it is {other.kind} {other.version}, and the backup is"
        f" for {backed_up.wanted}",
        hint=hint,
    )


def _paths(names: Sequence[str]) -> Iterator[str]:
    where = os.pathsep.join([os.environ.get("PATH", os.defpath), *SERVER_FOLDERS])
    for name in names:
        if path := shutil.which(name, path=where):
            yield path


def _asked(path: str) -> Program | None:
    try:
        return described(path, output_of([path, "--no-defaults", "--version"]))
    except (ChildFailed, ToolMissing):
        return None


def installer_beside(program: Program) -> str:
    """The path of MariaDB's script that makes a data directory; raises `ToolMissing`."""
    for name in INSTALLERS:
        if path := shutil.which(name):
            return path
    raise ToolMissing(
        f"cannot run '{INSTALLERS[0]}': it is not installed",
        hint=f"install {PACKAGES[program.kind]} of version {program.version}",
    )


def confining_profile(program: Program) -> Path | None:
    """The AppArmor profile that keeps the server out of other folders; None if nothing does."""
    try:
        if APPARMOR.read_text().strip() != "Y":
            return None
        real = os.path.realpath(program.path)
        profile = PROFILES / real.strip("/").replace("/", ".")
        is_off = (PROFILES / "disable" / profile.name).exists()
        return profile if not is_off and _RULE.search(profile.read_text()) else None
    except OSError:
        return None
