"""What a backup is made of, as frozen values without any I/O."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from holdfast.model.checked import Length
from holdfast.model.lazy_dataclass import dataclass, field
from holdfast.model.lazy_pattern import regex
from holdfast.model.part_details import NOTHING, Details
from holdfast.model.proof import Proof
from holdfast.model.sha256 import sha256_hex
from holdfast.model.values import Count, Line, Lines, Moment, Number, Text

Buffer = bytes | bytearray | memoryview
"""Bytes in transit; a memoryview is valid only until the next one is requested."""

JOB_NAME = regex(r"[a-z0-9][a-z0-9_-]{0,62}")
BACKUP_NAME = regex(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


class Consistency(StrEnum):
    """Which moment the parts of a backup show."""

    SNAPSHOT = "snapshot"
    PER_DATABASE = "per-database"
    PER_TABLE = "per-table"
    MIXED = "mixed"


class PartKind(StrEnum):
    """What a part is for; a restore handles the kinds in this order."""

    GLOBALS = "globals"
    PRE_DATA = "pre-data"
    ARCHIVE = "archive"
    DATA = "data"
    INDEXES = "indexes"
    SEQUENCES = "sequences"
    LARGE_OBJECTS = "large-objects"
    BLOBS = "blobs"
    POST_DATA = "post-data"
    GRANTS = "grants"
    FILE = "file"
    FILE_PACK = "file-pack"
    WAL = "wal"
    CLOSING = "closing"


class Codec(StrEnum):
    """How stored parts are compressed."""

    ZSTD = "zstd"
    GZIP = "gzip"
    XZ = "xz"
    NONE = "none"


SUFFIXES = {Codec.ZSTD: ".zst", Codec.GZIP: ".gz", Codec.XZ: ".xz", Codec.NONE: ""}


class Compressor(StrEnum):
    """A program of the host that may compress instead of the built-in codec."""

    GZIP = "gzip"
    PIGZ = "pigz"
    ZSTD = "zstd"
    SEVEN_ZIP = "7z"


# 7z cannot write its own archive format into a pipe; its xz output any xz reads.
CODEC_OF = {
    Compressor.GZIP: Codec.GZIP,
    Compressor.PIGZ: Codec.GZIP,
    Compressor.ZSTD: Codec.ZSTD,
    Compressor.SEVEN_ZIP: Codec.XZ,
}

Encryption = Literal["none", "age"]
"""How stored parts are sealed."""
AGE_SUFFIX = ".age"
# The server kind of a PostgreSQL cluster whose files are backed up as a whole.
POSTGRES_CLUSTER = "postgres-cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Names selected by shell patterns (`*`, `?`, `[...]`), case-sensitive."""

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()

    def of(self, names: Iterable[str]) -> list[str]:
        """Return the selected names in their given order, then the plain names that do not exist.

        The missing names are included so that the caller reports them.
        """
        known = list(names)
        found = [name for name in known if _any(name, self.include) and not self.excludes(name)]
        plain = [each for each in self.include if not set(each) & set("*?[")]
        return found + [each for each in plain if each not in known and not self.excludes(each)]

    def excludes(self, name: str) -> bool:
        return _any(name, self.exclude)


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table by its true names: no quoting, any character."""

    schema: Line
    name: Line

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


Ancestors = Annotated[tuple[Relation, ...], Length(at_most=100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """The rows of one table inside a part that holds several tables.

    `offset` is where its rows begin in the plain part, `plain_bytes` their length. `details` and
    `checksum` mean what they mean in `Part`, for this table alone.
    """

    relation: Relation
    ancestors: Ancestors = ()
    rows: Count
    offset: Count
    plain_bytes: Count
    checksum: Line = ""
    details: Details = NOTHING

    @property
    def relations(self) -> tuple[Relation, ...]:
        return (self.relation, *self.ancestors)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPlan:
    """One part that a source will yield.

    `name` is unique in the backup and safe as a file name on every store: `[a-z0-9._/-]`, ending in
    the plain suffix (`.sql`, `.copy`). `ancestors` are the partitioned tables above a partition,
    nearest first. `details` belongs to the source: what a restore needs to read the part again.
    `compress` is False for a part that is compressed already. `compress_threads` threads share the
    work of compressing one part.
    """

    name: str
    kind: PartKind
    relation: Relation | None = None
    ancestors: tuple[Relation, ...] = ()
    estimated_bytes: int = 0
    details: Details = NOTHING
    compress: bool = True
    compress_threads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part as it was stored, with both sizes and both fingerprints.

    The stored fingerprint is cryptographic, the plain one need not be.
    `members` are the tables of a part that holds several, in the order of their rows. `memo` is
    what its source needs to resume after a crash: the journal keeps it, the manifest does not.
    `checksum` is the server's own over the same rows, see `holdfast.model.checksums`.
    """

    name: Line
    key: Line
    kind: PartKind
    relation: Relation | None
    ancestors: Ancestors = ()
    rows: Count | None
    plain_bytes: Count
    plain_fingerprint: Line
    stored_bytes: Count
    stored_fingerprint: Line
    codec: Codec
    encryption: Encryption
    seconds: Number
    details: Details = NOTHING
    members: tuple[Member, ...] = ()
    memo: str = ""
    checksum: Line = ""

    @property
    def relations(self) -> tuple[Relation, ...]:
        """Every table that this part's rows belong to, its own first."""
        own = (self.relation, *self.ancestors) if self.relation else ()
        return own + tuple(relation for each in self.members for relation in each.relations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """One long value, stored once for all backups of a job under the fingerprint of its content.

    For an encrypted blob `plain_fingerprint` is empty, since its name must reveal nothing more.
    `stored_bytes` and `stored_fingerprint` describe the stored object; the first release did not
    record them for blobs that are not encrypted.
    """

    key: Line
    plain_fingerprint: Line
    plain_bytes: Count
    encryption: Encryption = "none"
    stored_bytes: Count = 0
    stored_fingerprint: Line = ""

    @property
    def is_recorded(self) -> bool:
        """Whether the fingerprint of the stored form is known."""
        return bool(self.stored_fingerprint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The database server that a snapshot came from."""

    kind: Line
    version: Line
    database: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class BadPart:
    """A part that cannot be trusted."""

    name: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The list of parts that makes them a backup; it is written last and deleted first.

    `recipients` can open the backup if it is encrypted. `blob_secret` is the key that its blobs are
    named with, sealed for the recipients and in Base64.
    """

    job: Line
    name: Line
    run_id: Line
    host: Line
    engine: Line
    server: Server
    consistency: Consistency
    proof: Proof
    tools: dict[str, str]
    started_at: Moment
    snapshot_at: Moment
    finished_at: Moment
    peak_memory_bytes: Count
    workers: Count
    parts: tuple[Part, ...]
    blobs: tuple[Blob, ...] = ()
    metrics: dict[str, Number] = field(default_factory=dict)
    notes: Lines = ()
    recipients: Lines = ()
    blob_secret: Text = ""

    @property
    def backup_id(self) -> str:
        return f"{self.job}/{self.name}"

    @property
    def parent(self) -> str:
        """The id of the backup whose changes this one holds; empty for a full backup."""
        return self.proof.parent

    @property
    def encryption(self) -> Encryption:
        return "age" if self.recipients else "none"

    @property
    def plain_bytes(self) -> int:
        return sum(part.plain_bytes for part in self.parts)

    @property
    def stored_bytes(self) -> int:
        return sum(part.stored_bytes for part in self.parts)

    @property
    def rows(self) -> int:
        return sum(part.rows or 0 for part in self.parts)

    @property
    def seconds(self) -> float:
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def summary(self) -> Summary:
        return Summary(
            job=self.job,
            name=self.name,
            run_id=self.run_id,
            host=self.host,
            engine=self.engine,
            server=self.server,
            consistency=self.consistency,
            started_at=self.started_at,
            snapshot_at=self.snapshot_at,
            finished_at=self.finished_at,
            peak_memory_bytes=self.peak_memory_bytes,
            workers=self.workers,
            parts=len(self.parts),
            blobs=len(self.blobs),
            keys_fingerprint=fingerprint_of_keys(part.key for part in self.parts),
            rows=self.rows,
            plain_bytes=self.plain_bytes,
            stored_bytes=self.stored_bytes,
            metrics=self.metrics,
            notes=self.notes,
            recipients=self.recipients,
            parent=self.parent,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A manifest with counts instead of parts and blobs, as lists of backups show it."""

    job: Line
    name: Line
    run_id: Line
    host: Line
    engine: Line
    server: Server
    consistency: Consistency
    started_at: Moment
    snapshot_at: Moment
    finished_at: Moment
    peak_memory_bytes: Count
    workers: Count
    parts: Count
    blobs: Count
    rows: int
    plain_bytes: int
    stored_bytes: int
    metrics: dict[str, Number]
    notes: Lines
    recipients: Lines
    parent: Line = ""
    # Of the parts' keys; empty in a summary that an earlier version cached.
    keys_fingerprint: Line = ""

    @property
    def backup_id(self) -> str:
        return f"{self.job}/{self.name}"

    @property
    def encryption(self) -> Encryption:
        return "age" if self.recipients else "none"

    @property
    def seconds(self) -> float:
        return (self.finished_at - self.started_at).total_seconds()


def fingerprint_of_keys(keys: Iterable[str]) -> str:
    """A digest of a set of keys, to compare two sets; their order does not matter."""
    return sha256_hex("\n".join(sorted(keys)).encode())
