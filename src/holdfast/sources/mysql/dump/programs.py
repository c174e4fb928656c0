"""The server's own programs on this host: which there are, and whether they suit the server."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.model.errors import ToolMissing
from holdfast.runtime.process import ChildFailed, running
from holdfast.sources.mysql.server.version import MARIADB, MYSQL, ServerVersion

DUMPS = {MARIADB: ("mariadb-dump", "mysqldump"), MYSQL: ("mysqldump",)}
DUMP_PACKAGES = {MARIADB: "mariadb-client", MYSQL: "mysql-client (or default-mysql-client)"}
BACKUP_PROGRAM = "mariadb-backup"
UNPACKER = "mbstream"
BACKUP_PACKAGE = "mariadb-backup"
_VERSION = re.compile(r"(?P<mariadb>\d+\.\d+\.\d+)-MariaDB|server (?P<based>\d+\.\d+\.\d+)")
_MYSQL_VERSION = re.compile(r"Ver (?P<mysql>\d+\.\d+\.\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program, where it is, and what it says it is."""

    name: str
    path: str
    kind: str
    version: str

    @property
    def release(self) -> tuple[int, int]:
        major, minor, *_ = self.version.split(".")
        return int(major), int(minor)


def find_dump(edition: ServerVersion) -> Program:
    """The dump program that suits the server; raises `ToolMissing`."""
    kind = edition.kind
    package = DUMP_PACKAGES[kind]
    program = _first(DUMPS[kind], package)
    if program.kind != kind:
        raise ToolMissing(
            f"cannot dump a {kind} server with '{program.path}': it is {program.kind}'s",
            hint=f"install {package}",
        )
    if program.release < edition.release:
        raise ToolMissing(
            f"cannot dump a {kind} server of version {edition.version} with '{program.path}': "
            f"it is of version {program.version}",
            hint=f"install {package} of the server's version or later",
        )
    return program


def find_backup(edition: ServerVersion) -> Program:
    """`mariadb-backup` of the server's own release; raises `ToolMissing`."""
    program = _first((BACKUP_PROGRAM,), BACKUP_PACKAGE)
    if program.release != edition.release:
        raise ToolMissing(
            f"cannot copy the files of a server of version {edition.version} with "
            f"'{program.path}': it is of version {program.version}",
            hint=f"install {BACKUP_PACKAGE} of the server's version: their formats belong together",
        )
    return program


def find_unpacking(server_version: str) -> tuple[Program, str]:
    """What prepares a copy made from `server_version`, and the path of what unpacks it."""
    unpacker = located((UNPACKER,), BACKUP_PACKAGE)
    program = _first((BACKUP_PROGRAM,), BACKUP_PACKAGE)
    wanted = tuple(int(number) for number in re.findall(r"\d+", server_version)[:2])
    if program.release != wanted:
        raise ToolMissing(
            f"cannot prepare files of MariaDB {server_version} with '{program.path}': "
            f"it is of version {program.version}",
            hint=f"install {BACKUP_PACKAGE} of the version that the files are of",
        )
    return program, unpacker


def located(names: Sequence[str], package: str) -> str:
    """The path of the first of `names` that is here; raises `ToolMissing`."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise ToolMissing(f"cannot run '{names[0]}': it is not installed", hint=f"install {package}")


def _first(names: Sequence[str], package: str) -> Program:
    path = located(names, package)
    try:
        with running([path, "--version"]) as child:
            said = b"".join(child.chunks()).decode(errors="replace")
            # mariadb-backup tells it there.
            said += child.stderr
    except ChildFailed as error:
        raise ToolMissing(
            f"cannot tell the version of '{path}': {error.message}", hint=f"install {package} anew"
        ) from error
    return described(path, said)


def described(path: str, said: str) -> Program:
    """What `--version` answered; raises `ToolMissing` where that names no version."""
    mariadb = _VERSION.search(said)
    mysql = _MYSQL_VERSION.search(said)
    name = path.rpartition("/")[2]
    if mariadb:
        version = mariadb["mariadb"] or mariadb["based"]
        return Program(name=name, path=path, kind=MARIADB, version=version)
    if mysql:
        return Program(name=name, path=path, kind=MYSQL, version=mysql["mysql"])
    raise ToolMissing(f"cannot tell the version of '{path}': it says '{said.strip()}'")
