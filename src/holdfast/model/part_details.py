"""What a source must know about its parts to restore them: one class for each kind of part.

`Details` itself is for a part that needs nothing except its bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar

from holdfast.model.facts import (
    NAMES,
    OCTAL,
    OCTETS,
    SPAN,
    TEXTS,
    WHOLE,
    YES,
    Facts,
    Form,
    by_name,
    facts_in,
    matching,
    stored,
    texts_in,
    word,
)
from holdfast.model.lazy_dataclass import dataclass, field, replace
from holdfast.model.lazy_pattern import regex
from holdfast.model.stored_json import MANIFEST, Unreadable, parsed
from holdfast.model.values import Span

LABEL_FILE = "backup_label"
_OID = regex(r"[1-9][0-9]{0,9}", re.ASCII)
_LARGEST_OID = (1 << 32) - 1


def _pair(text: str) -> tuple[str, ...]:
    found: tuple[str, ...] = NAMES.read(text)
    if len(found) != 2:
        raise ValueError("no schema and name")
    return found


def _accounts(text: str) -> tuple[tuple[str, str], ...]:
    found = parsed(text, MANIFEST)
    if not isinstance(found, list):
        raise Unreadable("no list of accounts")
    return tuple(map(_account, found))


def _account(value: object) -> tuple[str, str]:
    """A user and a host."""
    if not isinstance(value, list) or len(value) != 2:
        raise Unreadable("no name of an account")
    user, host = value
    if not isinstance(user, str) or not isinstance(host, str):
        raise Unreadable("no name of an account")
    return user, host


def _spaces(text: str) -> Mapping[str, str]:
    """Tablespaces by OID; an OID becomes the name of a folder, so it is checked."""
    found = by_name(text, of_files=True)
    if not all(_OID.fullmatch(oid) and int(oid) <= _LARGEST_OID for oid in found):
        raise Unreadable("no OIDs")
    return found


def _paths(text: str) -> frozenset[str]:
    found = parsed(text, MANIFEST, of_files=True)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise Unreadable("no list of files")
    return frozenset(found)


def _links(text: str) -> Mapping[str, str]:
    return by_name(text, of_files=True)


def _sorted(paths: frozenset[str]) -> str:
    return json.dumps(sorted(paths))


# Checked, because it becomes part of a statement.
NAME = matching(regex(r"[A-Za-z0-9_]+"))
PAIR = Form(_pair, json.dumps)
ACCOUNTS = Form(_accounts, json.dumps)
SPACES = Form(_spaces, json.dumps, always=True)
LINKS = Form(_links, json.dumps, always=True)
PATHS = Form(_paths, _sorted, always=True)
MODE = Form(OCTAL.read, OCTAL.write, always=True)
# Stored under another name than the field's.
BYTES = Form(SPAN.read, SPAN.write, name="bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Details(Facts):
    """A part that needs no details."""

    kind: ClassVar[str] = ""

    @property
    def lasting(self) -> Details:
        """The details that must be equal for another run to resume the part."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedRows(Details):
    """Rows in the format of PostgreSQL's COPY."""

    kind: ClassVar[str] = "copied-rows"
    format: Annotated[str, word("text", "binary")]

    @property
    def has_a_line_for_each_row(self) -> bool:
        """COPY's text format escapes a newline inside a value, so that each row is one line."""
        return self.format == "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresTable(CopiedRows):
    """One table's rows, or those of a range of its `pages`.

    `condition` is the WHERE clause they were read with, `load_through` the schema and name of the
    table that they must be routed through. Values of `blobs_in` from `blobs_from_bytes` up are
    stored as blobs: `blob_marker` and their SHA-256 replace them. `statement` is for a user who has
    only the files and psql.
    """

    kind: ClassVar[str] = "postgres-table"
    columns: Annotated[tuple[str, ...], NAMES]
    encoding: str
    condition: str = ""
    load_through: Annotated[tuple[str, ...], PAIR] = ()
    pages: Annotated[Span | None, SPAN] = None
    blobs_in: Annotated[tuple[str, ...], NAMES] = ()
    blobs_from_bytes: Annotated[int, WHOLE] = 0
    blob_marker: Annotated[bytes, OCTETS] = b""
    column_types: str = ""
    statement: str = ""
    transport: str = ""

    @property
    def lasting(self) -> Details:
        """Without the marker, which belongs to its own snapshot."""
        return replace(self, blob_marker=b"")

    def wanting(self) -> str:
        return "blobs_in" if self.blob_marker and not self.blobs_in else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePack(Details):
    """Small tables that share a part.

    `tables_sha256` shows a resumed run whether the set of tables has changed.
    """

    kind: ClassVar[str] = "table-pack"
    tables_sha256: str
    transport: str = ""
    method: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSchema(Details):
    """The definitions of a database, with its creation options and the version of its server."""

    kind: ClassVar[str] = "postgres-schema"
    creation: Annotated[Mapping[str, str], TEXTS]
    server_version_number: Annotated[int, WHOLE] = 0
    collation_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresDump(PostgresSchema):
    """The archive of pg_dump.

    `tables` lists the tables whose rows it holds. It stays one text until it is needed: 200,000
    tables as objects would take five times its memory.
    """

    kind: ClassVar[str] = "postgres-dump"
    format: Annotated[str, word("custom", "plain")]
    pg_dump_major: Annotated[int, WHOLE]
    tables: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFile(Details):
    """One file of a cluster, or a range of its bytes.

    A `mode` of 0 means that no mode is to be set.
    """

    kind: ClassVar[str] = "cluster-file"
    path: str
    mode: Annotated[int, OCTAL] = 0
    is_sparse: Annotated[bool, Form(YES.read, YES.write, name="sparse")] = False
    piece: Annotated[Span | None, BYTES] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterLabel(Details):
    """`backup_label`, and what else a restore must know about the cluster.

    `tablespaces` are their locations by OID, `vanished` the files dropped during the backup.
    `links` are the targets of symbolic links that come back as what they pointed to, `mode` the
    permissions of the data directory.
    """

    kind: ClassVar[str] = "cluster-label"
    path: Annotated[str, word(LABEL_FILE)] = LABEL_FILE
    tablespaces: Annotated[Mapping[str, str], SPACES] = field(default_factory=dict)
    vanished: Annotated[frozenset[str], PATHS] = frozenset()
    links: Annotated[Mapping[str, str], LINKS] = field(default_factory=dict)
    mode: Annotated[int, MODE] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondCopy(Details):
    """A file that is also `inside` another part; a restore takes it from there."""

    kind: ClassVar[str] = "second-copy"
    inside: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlTable(Details):
    """One table's rows as statements, written by `method` or by a program."""

    kind: ClassVar[str] = "mysql-table"
    method: str
    definition_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlDatabase(Details):
    """How to create a missing database."""

    kind: ClassVar[str] = "mysql-database"
    character_set: Annotated[str, NAME]
    collation: Annotated[str, NAME]
    longest_statement_bytes: Annotated[int, WHOLE] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlGrants(Details):
    """The accounts (user, host) that must exist before the grants can be given."""

    kind: ClassVar[str] = "mysql-grants"
    accounts: Annotated[tuple[tuple[str, str], ...], ACCOUNTS]


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlDump(MysqlDatabase):
    """One dump of a whole database, made by the program `method`."""

    kind: ClassVar[str] = "mysql-dump"
    format: Annotated[str, word("sql")] = "sql"
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlServerFiles(Details):
    """The files of a whole server as `mariadb-backup` streams them."""

    kind: ClassVar[str] = "mysql-server-files"
    format: Annotated[str, word("xbstream")] = "xbstream"
    server_version: str


KINDS: dict[str, type[Details]] = {
    each.kind: each
    for each in (
        *(CopiedRows, PostgresTable, TablePack, PostgresSchema, PostgresDump),
        *(ClusterFile, ClusterLabel, SecondCopy),
        *(MysqlTable, MysqlDatabase, MysqlGrants, MysqlDump, MysqlServerFiles),
    )
}
NOTHING = Details()

# Schema 1 did not name kinds: the first of these texts in a part determines its kind.
_MARKS: dict[str, type[Details]] = {
    "columns": PostgresTable,
    "tables_sha256": TablePack,
    "pg_dump_major": PostgresDump,
    "creation": PostgresSchema,
    "inside": SecondCopy,
    "path": ClusterFile,
    "accounts": MysqlGrants,
    "longest_statement_bytes": MysqlDatabase,
    "server_version": MysqlServerFiles,
    "character_set": MysqlDump,
    "method": MysqlTable,
    "format": CopiedRows,
}


def stored_details(details: Details) -> dict[str, str]:
    """The details as schema 2 stores them; empty for `NOTHING`."""
    # Not by comparing values, for which this class would be compiled.
    return stored(details) if type(details) is not Details else {}


def details_in(value: object) -> Details:
    """Read what `stored_details` wrote; raises `Unreadable`."""
    return facts_in(value, KINDS) if texts_in(value) else NOTHING


def details_of_schema_1(value: object) -> Details:
    """Read a part's texts from before kinds were named; raises `Unreadable`."""
    texts = texts_in(value)
    if not texts:
        return NOTHING
    if texts.get("path") == LABEL_FILE:
        return ClusterLabel.of(texts)
    for mark, kind in _MARKS.items():
        if mark in texts:
            return kind.of(texts)
    raise Unreadable(f"its facts are of no known kind: '{min(texts)[:80]}'")
