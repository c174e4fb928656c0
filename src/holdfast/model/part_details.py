"""What a source has to know of its own parts when they come back: one class for each kind of part.

`Details` itself is for a part of which nothing but its bytes matters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
from holdfast.model.stored_json import MANIFEST, Unreadable, parsed
from holdfast.model.values import Span

LABEL_FILE = "backup_label"
_OID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
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
    pairs = tuple((str(user), str(host)) for user, host in found)
    if [list(each) for each in pairs] != found:
        raise Unreadable("no names of accounts")
    return pairs


def _spaces(text: str) -> Mapping[str, str]:
    """A tablespace's OID becomes the name of a folder."""
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


# Part of a statement.
NAME = matching(re.compile(r"[A-Za-z0-9_]+"))
PAIR = Form(_pair, json.dumps)
ACCOUNTS = Form(_accounts, json.dumps)
SPACES = Form(_spaces, json.dumps, always=True)
LINKS = Form(_links, json.dumps, always=True)
PATHS = Form(_paths, _sorted, always=True)
MODE = Form(OCTAL.read, OCTAL.write, always=True)
# What is called otherwise than its field.
BYTES = Form(SPAN.read, SPAN.write, name="bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Details(Facts):
    """Nothing needs to be known."""

    kind: ClassVar[str] = ""

    @property
    def lasting(self) -> Details:
        """What has to be the same where another run goes on with the part."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedRows(Details):
    """Rows as COPY of PostgreSQL writes them."""

    kind: ClassVar[str] = "copied-rows"
    format: Annotated[str, word("text", "binary")]

    @property
    def has_a_line_for_each_row(self) -> bool:
        """In COPY's text format a newline inside a value is written as two other characters."""
        return self.format == "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresTable(CopiedRows):
    """One table's rows, or those of a range of its `pages`.

    `condition` is the WHERE clause they were read with, `load_through` the schema and name of the
    table that they have to be routed through. Values of `blobs_in` from `blobs_from_bytes` up are
    kept aside: in their place stand `blob_marker` and their SHA-256. `statement` is for whoever
    has only the files and psql.
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
        """A marker belongs to its own snapshot."""
        return replace(self, blob_marker=b"")

    def wanting(self) -> str:
        return "blobs_in" if self.blob_marker and not self.blobs_in else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePack(Details):
    """Small tables that share a part: a resumed run sees by `tables_sha256` that others do now."""

    kind: ClassVar[str] = "table-pack"
    tables_sha256: str
    transport: str = ""
    method: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSchema(Details):
    """The definitions of a database: with which options, and on which version, it was made."""

    kind: ClassVar[str] = "postgres-schema"
    creation: Annotated[Mapping[str, str], TEXTS]
    server_version_number: Annotated[int, WHOLE] = 0
    collation_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresDump(PostgresSchema):
    """The archive of pg_dump. `tables` lists what rows are in it, as one text until it is asked
    for: 200,000 tables would take five times its memory."""

    kind: ClassVar[str] = "postgres-dump"
    format: Annotated[str, word("custom", "plain")]
    pg_dump_major: Annotated[int, WHOLE]
    tables: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFile(Details):
    """One file of a cluster, or some bytes of it; `mode` is none where it is not to be set."""

    kind: ClassVar[str] = "cluster-file"
    path: str
    mode: Annotated[int, OCTAL] = 0
    is_sparse: Annotated[bool, Form(YES.read, YES.write, name="sparse")] = False
    piece: Annotated[Span | None, BYTES] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterLabel(Details):
    """`backup_label`, and what a restore has to know of the cluster besides.

    Where tablespaces were, by their OIDs; which files were dropped during the backup; where links
    led that come back as what they led to; and the rights of the data directory.
    """

    kind: ClassVar[str] = "cluster-label"
    path: Annotated[str, word(LABEL_FILE)] = LABEL_FILE
    tablespaces: Annotated[Mapping[str, str], SPACES] = field(default_factory=dict)
    vanished: Annotated[frozenset[str], PATHS] = frozenset()
    links: Annotated[Mapping[str, str], LINKS] = field(default_factory=dict)
    mode: Annotated[int, MODE] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondCopy(Details):
    """What is also `inside` another part, which a restore has it from."""

    kind: ClassVar[str] = "second-copy"
    inside: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlTable(Details):
    """One table's rows as statements, by which `method` or program."""

    kind: ClassVar[str] = "mysql-table"
    method: str
    definition_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlDatabase(Details):
    """How a database is made that is not there; `accounts` have to be there before their grants."""

    kind: ClassVar[str] = "mysql-database"
    character_set: Annotated[str, NAME]
    collation: Annotated[str, NAME]
    longest_statement_bytes: Annotated[int, WHOLE] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlGrants(Details):
    """The accounts that have to exist before the grants can be given: user and host."""

    kind: ClassVar[str] = "mysql-grants"
    accounts: Annotated[tuple[tuple[str, str], ...], ACCOUNTS]


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlDump(MysqlDatabase):
    """One dump of a whole database, by the program `method`."""

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

# Schema 1 did not name kinds: each is known by the first text here that it alone has.
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
    """As schema 2 has them; nothing where nothing needs to be known."""
    return stored(details) if details != NOTHING else {}


def details_in(value: object) -> Details:
    """What `stored_details` wrote; raises `Unreadable`."""
    return facts_in(value, KINDS) if texts_in(value) else NOTHING


def details_of_schema_1(value: object) -> Details:
    """What the texts of a part were before kinds were named; raises `Unreadable`."""
    texts = texts_in(value)
    if not texts:
        return NOTHING
    if texts.get("path") == LABEL_FILE:
        return ClusterLabel.of(texts)
    for mark, kind in _MARKS.items():
        if mark in texts:
            return kind.of(texts)
    raise Unreadable(f"its facts are of no kind: '{min(texts)[:80]}'")
