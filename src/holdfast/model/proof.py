"""What proves the moment of a backup, in the server's own terms: one class for each way.

`Proof` itself is for a source that knows nothing but the name of its snapshot.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from holdfast.model.facts import MOMENT, WHOLE, Facts, Form, facts_in, matching, texts_in
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.lazy_pattern import regex
from holdfast.model.wal import Position

_TIMELINE = regex(r"[1-9][0-9]{0,9}")
_CLUSTER = regex(r"[0-9]{1,20}")


def _lsn(text: str) -> str:
    if not Position.is_one(text):
        raise ValueError("no position in the WAL")
    return text


def _timeline(text: str) -> int:
    if not _TIMELINE.fullmatch(text):
        raise ValueError("no timeline")
    return int(text)


LSN = Form(_lsn, str)
TIMELINE = Form(_timeline, str)
CLUSTER = matching(_CLUSTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof(Facts):
    """The facts about its snapshot that any backup may record.

    `snapshot` is the name by which a later run can rejoin it, `parent` the id of the parent backup.
    `resumed_parts` counts the parts that an earlier run had stored. `mixed` names those of them
    that show an earlier snapshot.
    """

    kind: ClassVar[str] = "snapshot"
    snapshot: str = ""
    parent: str = ""
    resumed_parts: Annotated[int, WHOLE] = 0
    mixed: str = ""

    @property
    def cluster(self) -> str:
        """The system identifier of the cluster that was backed up; empty for other backups."""
        return ""

    @property
    def wal(self) -> WalSpan | None:
        """The WAL written during the backup; None if WAL cannot roll the backup forward."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class WalSpan:
    """The WAL that a cluster wrote on `timeline` during a base backup.

    `stop` is empty, and `ended_at` None, if the end was not recorded.
    """

    cluster: str
    timeline: int
    start: str
    stop: str
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseBackupProof(Proof):
    """The proof of a cluster's files, copied by the built-in engine or by pg_basebackup."""

    kind: ClassVar[str] = "base-backup"
    system_identifier: Annotated[str, CLUSTER] = ""
    timeline: Annotated[int, TIMELINE] = 0
    start_lsn: Annotated[str, LSN] = ""
    stop_lsn: Annotated[str, LSN] = ""
    ended_at: Annotated[datetime | None, MOMENT] = None
    wal_reserved_by: str = ""
    page_checksums: str = ""
    vanished: str = ""
    bad_pages: str = ""
    copied_by: str = ""

    @property
    def cluster(self) -> str:
        return self.system_identifier

    @property
    def wal(self) -> WalSpan | None:
        if not (self.system_identifier and self.timeline and self.start_lsn):
            return None
        return WalSpan(
            cluster=self.system_identifier,
            timeline=self.timeline,
            start=self.start_lsn,
            stop=self.stop_lsn,
            ended_at=self.ended_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresProof(Proof):
    """The proof of a database read by sessions, or by pg_dump, inside one exported snapshot."""

    kind: ClassVar[str] = "postgres-snapshot"
    visible: str
    xmin: str
    xmax: str
    lsn: str
    isolation: str
    outside: str
    not_taken: str
    sessions: str = ""
    content: str = ""
    exported: str = ""
    server: str = ""
    taken_at: str = ""
    pg_dump: str = ""
    pg_dumpall: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlProof(Proof):
    """The proof of a database read by sessions that began while commits were blocked."""

    kind: ClassVar[str] = "mysql-snapshot"
    lock: str
    lock_held_milliseconds: str
    same_moment: str
    sessions: str
    lock_tries: str = ""
    others_waited_milliseconds: str = ""
    gtid: str = ""
    binlog_snapshot_file: str = ""
    binlog_snapshot_position: str = ""
    content: str = ""
    json_changed: str = ""
    locked_while_read: str = ""
    tables_left_out: str = ""
    views_broken_at_source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlDumpProof(Proof):
    """The proof of a database read by its dump program, with the columns it may alter."""

    kind: ClassVar[str] = "mysql-dump"
    moment: str
    rounded_columns: str = ""
    converted_columns: str = ""
    json_columns: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlCopyProof(Proof):
    """The proof of a whole server's files, as `mariadb-backup` reports it."""

    kind: ClassVar[str] = "mysql-server-files"
    lsn: str
    checkpoint_lsn: str = ""
    binlog_position: str = ""
    copy_began: str = ""
    copy_ended: str = ""
    backup_type: str = ""


# For a backup of which nothing is known yet.
NO_PROOF = Proof()
KINDS: dict[str, type[Proof]] = {
    each.kind: each
    for each in (
        *(Proof, BaseBackupProof, PostgresProof),
        *(MysqlProof, MysqlDumpProof, MysqlCopyProof),
    )
}
# Schema 1 did not name kinds: the first of these texts in a proof determines its kind.
_MARKS: dict[str, type[Proof]] = {
    "visible": PostgresProof,
    "same_moment": MysqlProof,
    "moment": MysqlDumpProof,
    "backup_type": MysqlCopyProof,
    "system_identifier": BaseBackupProof,
    "start_lsn": BaseBackupProof,
    "stop_lsn": BaseBackupProof,
    "timeline": BaseBackupProof,
    "ended_at": BaseBackupProof,
    "lsn": MysqlCopyProof,
}


def proof_in(value: object) -> Proof:
    """Read a proof that `facts.stored` wrote; raises `Unreadable`."""
    return facts_in(value, KINDS)


def proof_of_schema_1(value: object) -> Proof:
    """Read a proof's texts from before kinds were named; raises `Unreadable`."""
    texts = texts_in(value)
    kind = next((kind for mark, kind in _MARKS.items() if mark in texts), Proof)
    return kind.of(texts)
