"""What the definitions of a backup ask of a server, and what of that this host lacks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from pathlib import Path

from holdfast.model.backup import Part, PartKind
from holdfast.model.drill import DrillFinding
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import MysqlDatabase
from holdfast.model.restore import StoredParts
from holdfast.runtime.process import ChildFailed
from holdfast.sources.mysql.dump.programs import PACKAGES, Program
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
PROFILES = Path("/etc/apparmor.d")
APPARMOR = Path("/sys/module/apparmor/parameters/enabled")
_RULE = re.compile(r"^\s*[^#\s]", re.MULTILINE)
_PLUGINS = re.compile(r"^plugin-dir\s+(\S.*?)\s*$", re.MULTILINE)
_NO_COLLATION = re.compile(r"(?:collation|character set).*", re.IGNORECASE)


SCRIPTS = {PartKind.PRE_DATA, PartKind.INDEXES, PartKind.POST_DATA, PartKind.GLOBALS}
# Strings hold comments and default values, in which these words mean nothing.
_STRING = re.compile(rb"'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`", re.DOTALL)
_ENGINE = re.compile(rb"\bENGINE\s*=\s*([A-Za-z][A-Za-z0-9_]*)", re.IGNORECASE)
_COLLATION = re.compile(rb"\bCOLLATE(?:\s*=\s*|\s+)([A-Za-z0-9_]+)", re.IGNORECASE)
_ENCRYPTED = re.compile(rb"`?\bENCRYPTED`?\s*=\s*`?YES\b", re.IGNORECASE)
_ENCRYPTION = re.compile(rb"\bENCRYPTION\s*=\s*'Y'", re.IGNORECASE)
_ELSEWHERE = re.compile(rb"\b(?:DATA|INDEX)\s+DIRECTORY\s*=\s*''", re.IGNORECASE)
_LOGIN = re.compile(rb"\bIDENTIFIED (?:VIA|WITH) ['`\"]?([A-Za-z0-9_]+)", re.IGNORECASE)


@dataclass(slots=True)
class Needs:
    """Names as the definitions write them; engines in capitals, collations in small letters."""

    engines: set[str] = field(default_factory=set)
    collations: set[str] = field(default_factory=set)
    logins: set[str] = field(default_factory=set)
    is_encrypted: bool = False
    is_elsewhere: bool = False

    def read(self, script: bytes) -> None:
        """Add what the statements of `script` name."""
        self.logins |= set(_found(_LOGIN, script))
        self.is_encrypted |= bool(_ENCRYPTION.search(script))
        bare = _STRING.sub(_emptied, script)
        self.engines |= {name.upper() for name in _found(_ENGINE, bare)}
        self.collations |= {name.lower() for name in _found(_COLLATION, bare)}
        self.is_encrypted |= bool(_ENCRYPTED.search(bare))
        self.is_elsewhere |= bool(_ELSEWHERE.search(bare))


def _emptied(text: re.Match[bytes]) -> bytes:
    """Nothing of a string; MariaDB quotes the name of this one option."""
    return text[0] if text[0].upper() == b"`ENCRYPTED`" else b"''"


def _found(pattern: re.Pattern[bytes], text: bytes) -> list[str]:
    return [match[1].decode() for match in pattern.finditer(text)]


def needs_of(parts: Iterable[Part], stored: StoredParts) -> Needs:
    """What the scripts of definitions need; a dump in one piece is not read for that.

    Raises `VerifyFailed` for a damaged script.
    """
    needs = Needs()
    for part in parts:
        if isinstance(part.details, MysqlDatabase):
            needs.collations.add(part.details.collation.lower())
        if part.kind in SCRIPTS:
            with stored.proven(part) as proven:
                needs.read(proven.whole())
    return needs


Printed = Callable[[list[str]], str]
"""The options that the server prints if it is called with these; it starts nothing."""


class HostGaps:
    """Compares `needs` with the server `program`, which only prints its options for that."""

    def __init__(self, program: Program, needs: Needs, *, printed: Printed) -> None:
        self._program = program
        self._needs = needs
        self._printed = printed
        self._said = ""

    def found(self) -> Iterator[DrillFinding]:
        self._said = self._printed([])
        yield from self._engines()
        yield from self._logins()
        yield from self._collations()
        if self._needs.is_encrypted:
            yield DrillFinding(
                subject="encrypted tables",
                problem="a throw-away server has no key to encrypt them with",
                hint="leave them out of the job, or drill the files with method: physical",
            )
        if self._needs.is_elsewhere:
            yield DrillFinding(
                subject="tables with a DATA DIRECTORY",
                problem="a throw-away server would make their files in folders of the original",
                hint="drill a backup of the files (method: physical), or restore by hand",
            )

    def libraries(self) -> list[str]:
        """The libraries of plugins that the backup needs and this host has."""
        self._said = self._said or self._printed([])
        wanted = [LIBRARIES[each] for each in self._missing_engines() if each in LIBRARIES]
        wanted += [LOGIN_LIBRARIES[each] for each in self._needs.logins if each in LOGIN_LIBRARIES]
        return sorted(name for name in wanted if self._is_installed(name))

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
                self._printed(options)
            except ChildFailed as error:
                told = _NO_COLLATION.search(error.stderr)
                yield DrillFinding(
                    subject=f"collation '{collation}'",
                    problem=told[0] if told else error.message,
                    hint=f"install {PACKAGES[self._program.kind]} of a later version",
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
