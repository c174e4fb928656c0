"""What a backup of rows needs of the host that it is drilled on, found before the load begins."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from holdfast.model.backup import Manifest, PartKind
from holdfast.model.drill import DrillFinding
from holdfast.model.errors import ToolMissing
from holdfast.model.part_details import PostgresSchema
from holdfast.model.restore import StoredParts
from holdfast.runtime.process import ChildFailed, output_of
from holdfast.sources.postgres.server.client_programs import Tool, find
from holdfast.sources.postgres.server.sql_text import NAME, unquoted

_EXTENSION = re.compile(rf"^CREATE EXTENSION (?:IF NOT EXISTS )?(?P<name>{NAME})", re.MULTILINE)
_COLLATION = re.compile(
    rf"^CREATE COLLATION {NAME}\.(?P<name>{NAME}) \(provider = libc, locale = '(?P<locale>[^']*)'",
    re.MULTILINE,
)
_WITH_SETTINGS = {PartKind.GLOBALS, PartKind.PRE_DATA, PartKind.GRANTS}
_SESSION_LIBRARIES = re.compile(
    r'^ALTER .* SET "?(?P<name>(?:session|local)_preload_libraries)"? (?:TO|=) (?P<value>.*);$',
    re.MULTILINE,
)
# Debian's packages of extensions that are not called after their extension.
_PACKAGES = {
    "postgis": "postgis-3",
    "postgis_topology": "postgis-3",
    "postgis_raster": "postgis-3",
    "vector": "pgvector",
    "plpython3u": "plpython3",
    "plperl": "plperl",
    "plperlu": "plperl",
    "pltcl": "pltcl",
}
# Their jobs drop and compress rows, call other servers, and would do so while the drill counts.
# Jobs run in worker processes; the server has no slot for any of these.
_WITHOUT_JOBS = {"max_worker_processes": "0"}
# Extensions that only a server with their library can create, and what keeps them from working.
PRELOADED: dict[str, dict[str, str]] = {
    "pgaudit": {},
    "timescaledb": {
        "timescaledb.telemetry_level": "off",
        "timescaledb.max_background_workers": "0",
        **_WITHOUT_JOBS,
    },
    "citus": {"citus.enable_statistics_collection": "off", **_WITHOUT_JOBS},
    "pg_stat_statements": {},
}
# It can be created in the database that `cron.database_name` names, and in no other one. A restore
# creates extensions under a temporary name of the database.
ONE_DATABASE = {"pg_cron"}
# Locales that every C library has.
_BUILT_IN = {"C", "POSIX", "C.UTF-8", "C.utf8", ""}


class Requirements:
    """The programs, extensions and locales that `manifest` needs."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    @property
    def major(self) -> int:
        """The major version of the server that was backed up; 0 if the manifest does not say."""
        found = re.match(r"\d+", self._manifest.server.version)
        return int(found[0]) if found else 0

    @cached_property
    def initdb(self) -> Tool:
        """The initdb of the backup's own version, else of the next later one.

        Raises `ToolMissing`.
        """
        return find("initdb", self.major, self._manifest.server.version)

    def program(self, name: str) -> str:
        """A program of the throw-away server's own version; raises `ToolMissing`."""
        return str(self.initdb.path.resolve().with_name(name))

    def findings(self, stored: StoredParts) -> list[DrillFinding]:
        """Everything that is missing; the definitions are read through `stored`."""
        try:
            share = self._share
        except ToolMissing as error:
            return [
                DrillFinding(
                    subject=f"PostgreSQL {self.major}",
                    problem=error.message,
                    hint=f"install it, or a later version; on Debian: apt install"
                    f" postgresql-{self.major}",
                )
            ]
        text = self._definitions(stored)
        names = _names(_EXTENSION, text, "name")
        return [
            *self._extensions([name for name in names if name not in ONE_DATABASE], share),
            *_of_one_database([name for name in names if name in ONE_DATABASE]),
            *_unloaded(self._scripts(stored, _WITH_SETTINGS)),
            *self._locales(text),
        ]

    def preloaded(self, stored: StoredParts) -> dict[str, str]:
        """The settings for extensions that need their library from the start of the server."""
        names = _names(_EXTENSION, self._definitions(stored), "name")
        wanted = [name for name in names if name in PRELOADED and self._has(name)]
        settings = {key: value for name in wanted for key, value in PRELOADED[name].items()}
        return settings | {"shared_preload_libraries": ",".join(wanted)}

    def _has(self, extension: str) -> bool:
        return _is_there(extension, self._share)

    @cached_property
    def _share(self) -> Sequence[Path]:
        """The folders in which this server looks for extensions."""
        binaries = self.initdb.path.resolve().parent
        return (
            Path(f"/usr/share/postgresql/{self.initdb.major}"),
            binaries.parent / "share" / "postgresql",
            binaries.parent / "share",
        )

    def _definitions(self, stored: StoredParts) -> str:
        """The definitions that the built-in engine stores; empty for an archive of pg_dump."""
        return self._scripts(stored, {PartKind.PRE_DATA})

    def _scripts(self, stored: StoredParts, kinds: Collection[PartKind]) -> str:
        texts: list[str] = []
        for part in self._manifest.parts:
            if part.kind in kinds:
                with stored.proven(part) as proven:
                    texts.append(proven.text())
        return "\n".join(texts)

    def _extensions(self, names: Iterable[str], share: Sequence[Path]) -> list[DrillFinding]:
        major = self.initdb.major
        return [
            DrillFinding(
                subject=f"extension '{name}'",
                problem=f"PostgreSQL {major} on this host does not have it",
                hint="install the package that holds it; on Debian most likely: apt install"
                f" postgresql-{major}-{_PACKAGES.get(name, name.replace('_', '-'))}",
            )
            for name in names
            if not _is_there(name, share)
        ]

    def _locales(self, text: str) -> list[DrillFinding]:
        wanted = dict.fromkeys(self._database_locales(), "the database")
        for found in _COLLATION.finditer(text):
            wanted.setdefault(found["locale"], f"collation '{unquoted(found['name'])}'")
        missing = [name for name in wanted if name not in _BUILT_IN]
        if missing:
            known = {_plain(name) for name in _host_locales()}
            missing = [name for name in missing if _plain(name) not in known]
        return [
            DrillFinding(
                subject=f"locale '{name}'",
                problem=f"this host does not have it, and {wanted[name]} needs it",
                hint=f"on Debian: add '{name}' with dpkg-reconfigure locales (package locales)",
            )
            for name in missing
        ]

    def _database_locales(self) -> set[str]:
        return {
            value
            for part in self._manifest.parts
            if isinstance(part.details, PostgresSchema)
            for option, value in part.details.creation.items()
            if option in ("LC_COLLATE", "LC_CTYPE")
        }


def _of_one_database(names: Iterable[str]) -> Iterator[DrillFinding]:
    for name in names:
        yield DrillFinding(
            subject=f"extension '{name}'",
            problem="it can be created in one database of a server only, chosen by a setting, and a"
            " restore creates a database under a temporary name",
            hint="drill a backup of the whole cluster (method: physical); no job of it runs there",
        )


def _unloaded(text: str) -> Iterator[DrillFinding]:
    """The libraries that sessions of the database are to load, and that a drill does not load."""
    for found in _SESSION_LIBRARIES.finditer(text):
        yield DrillFinding(
            subject=f"setting '{found['name']}'",
            problem=f"sessions of the drill do not load {found['value'].strip()}",
            blocks=False,
        )


def _names(pattern: re.Pattern[str], text: str, group: str) -> list[str]:
    return list(dict.fromkeys(unquoted(found[group]) for found in pattern.finditer(text)))


def _is_there(extension: str, share: Sequence[Path]) -> bool:
    # A crafted name must not lead out of the folder.
    if "/" in extension or "\0" in extension:
        return False
    return any((folder / "extension" / f"{extension}.control").is_file() for folder in share)


def _host_locales() -> list[str]:
    try:
        return output_of(["locale", "-a"]).split()
    except (ChildFailed, ToolMissing):
        return []


def _plain(locale: str) -> str:
    """`en_US.UTF-8` and `en_US.utf8` are one locale."""
    return locale.replace("-", "").lower()
