"""What this host lacks for a backup, as findings that name the package where it is known."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from holdfast.model.drill import DrillFinding
from holdfast.model.units import size
from holdfast.runtime.process import ChildFailed, User, output_of
from holdfast.runtime.server_process import environment
from holdfast.sources.mysql.drill.needs import Needs
from holdfast.sources.mysql.drill.programs import PACKAGES
from holdfast.sources.mysql.dump.programs import Program
from holdfast.sources.mysql.server.session import MARIADB, MYSQL

BUILT_IN = {
    MARIADB: {"INNODB", "ARIA", "MYISAM", "MEMORY", "CSV", "MRG_MYISAM", "MERGE", "SEQUENCE"},
    MYSQL: {"INNODB", "MYISAM", "MEMORY", "CSV", "MRG_MYISAM", "MERGE", "ARCHIVE", "BLACKHOLE"},
}
# Their tables show rows of other servers, which a drill must not reach.
ELSEWHERE = {"FEDERATED", "SPIDER"}
LIBRARIES = {
    "ARCHIVE": "ha_archive",
    "BLACKHOLE": "ha_blackhole",
    "COLUMNSTORE": "ha_columnstore",
    "CONNECT": "ha_connect",
    "EXAMPLE": "ha_example",
    "MROONGA": "ha_mroonga",
    "OQGRAPH": "ha_oqgraph",
    "ROCKSDB": "ha_rocksdb",
    "S3": "ha_s3",
    "SPHINX": "ha_sphinx",
}
# Debian has them in packages of their own.
APART = ("columnstore", "connect", "mroonga", "oqgraph", "rocksdb", "s3")
LOGINS_BUILT_IN = {
    *("mysql_native_password", "mysql_old_password", "unix_socket", "caching_sha2_password"),
    *("sha256_password", "socket"),
}
LOGIN_LIBRARIES = {
    "ed25519": "auth_ed25519",
    "gssapi": "auth_gssapi",
    "pam": "auth_pam",
    "parsec": "auth_parsec",
    "auth_socket": "auth_socket",
    "authentication_ldap_simple": "authentication_ldap_simple",
    "authentication_ldap_sasl": "authentication_ldap_sasl",
}
# The rows, their indexes, and the server's own files.
ROOM_TIMES, ROOM_BYTES = 2, 512 << 20
_PLUGINS = re.compile(r"^plugin-dir\s+(\S.*?)\s*$", re.MULTILINE)
_NO_COLLATION = re.compile(r"(?:collation|character set).*", re.IGNORECASE)


class HostGaps:
    """Compares `needs` with the server `program`, which only prints its options for that."""

    def __init__(self, program: Program, needs: Needs, *, folder: Path, user: User | None) -> None:
        self._program = program
        self._needs = needs
        self._folder = folder
        self._user = user
        self._said = ""

    def found(self) -> Iterator[DrillFinding]:
        self._said = self._options([])
        yield from self._engines()
        yield from self._logins()
        yield from self._collations()
        if self._needs.is_encrypted:
            yield DrillFinding(
                subject="encrypted tables",
                problem="a throw-away server has no key to encrypt them with",
                hint="leave them out of the job, or drill the files with method: physical",
            )

    def libraries(self) -> list[str]:
        """The libraries of plugins that the backup needs and this host has."""
        self._said = self._said or self._options([])
        wanted = [LIBRARIES[each] for each in self._missing_engines() if each in LIBRARIES]
        wanted += [LOGIN_LIBRARIES[each] for each in self._needs.logins if each in LOGIN_LIBRARIES]
        return sorted(name for name in wanted if self._is_installed(name))

    def _options(self, options: list[str]) -> str:
        """What the server prints as its options; it starts nothing and opens no data directory."""
        # It tests the data directory for capital letters by a file: never in production's.
        argv = [self._program.path, "--no-defaults", f"--datadir={self._folder}", *options]
        return output_of(
            [*argv, "--verbose", "--help"],
            env=environment(self._folder),
            cwd=self._folder,
            user=self._user,
        )

    def _missing_engines(self) -> list[str]:
        return sorted(self._needs.engines - BUILT_IN[self._program.kind])

    def _is_installed(self, library: str) -> bool:
        place = _PLUGINS.search(self._said)
        return place is not None and (Path(place[1]) / f"{library}.so").exists()

    def _engines(self) -> Iterator[DrillFinding]:
        for engine in self._missing_engines():
            if engine in ELSEWHERE:
                yield DrillFinding(
                    subject=f"storage engine {engine}",
                    problem="its tables show another server's rows: a drill makes them empty",
                    blocks=False,
                )
            elif not self._is_installed(LIBRARIES.get(engine, "")):
                yield DrillFinding(
                    subject=f"storage engine {engine}",
                    problem=f"'{self._program.path}' does not have it",
                    hint=self._package(engine.lower()),
                )

    def _package(self, name: str) -> str:
        if self._program.kind == MARIADB and name in APART:
            return f"install mariadb-plugin-{name}"
        return (
            f"install it as on the server that was backed up, beside {PACKAGES[self._program.kind]}"
        )

    def _logins(self) -> Iterator[DrillFinding]:
        for login in sorted(self._needs.logins):
            library = LOGIN_LIBRARIES.get(login, "")
            if login in LOGINS_BUILT_IN or (library and self._is_installed(library)):
                continue
            is_gssapi = login == "gssapi"
            yield DrillFinding(
                subject=f"authentication plugin '{login}'",
                problem=f"'{self._program.path}' does not have it",
                hint="install mariadb-plugin-gssapi-server" if is_gssapi else self._package(login),
            )

    def _collations(self) -> Iterator[DrillFinding]:
        for collation in sorted(self._needs.collations):
            # MariaDB's own names of these leave out the character set.
            named = collation if not collation.startswith("uca1400_") else f"utf8mb4_{collation}"
            charset = named.partition("_")[0]
            options = [f"--character-set-server={charset}", f"--collation-server={named}"]
            try:
                self._options(options)
            except ChildFailed as error:
                told = _NO_COLLATION.search(error.stderr)
                yield DrillFinding(
                    subject=f"collation '{collation}'",
                    problem=told[0] if told else error.message,
                    hint=f"install {PACKAGES[self._program.kind]} of a later version",
                )


def no_room(folder: Path, plain_bytes: int) -> Iterator[DrillFinding]:
    """A finding if `folder` has no room for a restored backup of that size."""
    free, wanted = shutil.disk_usage(folder).free, plain_bytes * ROOM_TIMES + ROOM_BYTES
    if free < wanted:
        yield DrillFinding(
            subject=f"disk of '{folder}'",
            problem=f"{size(free)} are free, and a drill of this backup may need {size(wanted)}",
            hint="free disk space, or name a folder on a larger disk",
        )
