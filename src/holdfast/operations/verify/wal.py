"""Read archived WAL back: stored bytes against the record, and content against the name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.backup import BadPart
from holdfast.model.errors import (
    IdentityNeeded,
    ManifestInvalid,
    ObjectMissing,
    RepositoryUnreachable,
    VerifyFailed,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.wal import HEADER_BYTES, SegmentHeader, WalKind, WalName
from holdfast.model.wal_archive import ArchivedFile, switches_in
from holdfast.operations.parts.read import proven, require_stored
from holdfast.runtime.cleanup import afterwards

if TYPE_CHECKING:
    from holdfast.operations.verify.backup import BackupReader

# The longest history that a server writes is far shorter.
LONGEST_HISTORY = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WalFile:
    """An archived file, and when this host last read it back; None for never."""

    cluster: str
    name: WalName
    read_at: datetime | None = None

    @property
    def key(self) -> str:
        return f"{self.cluster}/{self.name.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WalRead:
    """What one reading found; nothing is `bad` where the file was pruned since it was listed."""

    bad: BadPart | None = None
    plain_bytes: int = 0
    opened: bool = True


class WalReader:
    """Reads the archived WAL of a job, and notes each reading in the verification log.

    A file that is sealed for none of the reader's identities is not opened: only its stored bytes
    are compared. Several threads may use one reader.
    """

    def __init__(self, reader: BackupReader, job: str) -> None:
        self._reader = reader
        self._archive = WalArchive(reader.repository, job)
        self._home = self._archive.folder

    def files(self) -> list[WalFile]:
        """Every archived file; the log forgets those that are gone."""
        found = [
            WalFile(cluster=each.cluster, name=each.name)
            for each in self._archive.held()
            if each.is_archived
        ]
        log = self._reader.verification_log
        known = log.of(self._home)
        present = {each.key for each in found}
        if not known.keys() <= present:
            log.keep_only(self._home, present)
        return [
            WalFile(
                cluster=each.cluster,
                name=each.name,
                read_at=known[each.key].at if each.key in known else None,
            )
            for each in found
        ]

    def read(self, file: WalFile) -> WalRead:
        """Read all of `file`, and note it; a bad one is a result."""
        try:
            record = self._archive.find(file.cluster, file.name.text)
        except ObjectMissing:
            return WalRead()
        except ManifestInvalid as error:
            return self._noted(file, WalRead(bad=_bad(file, error.message)))
        opened = self._opens(record)
        problem = self._problem(file, record, opened=opened)
        found = WalRead(
            bad=_bad(file, problem) if problem else None,
            plain_bytes=record.part.plain_bytes,
            opened=opened,
        )
        return self._noted(file, found)

    def _noted(self, file: WalFile, found: WalRead) -> WalRead:
        self._reader.note(self._home, file.key, found.bad, opened=found.opened)
        return found

    def _opens(self, record: ArchivedFile) -> bool:
        if record.part.encryption == "none":
            return True
        ours = self._reader.identities.recipients if self._reader.identities else ()
        return not set(ours).isdisjoint(record.recipients)

    def _problem(self, file: WalFile, record: ArchivedFile, *, opened: bool) -> str:
        reader = self._reader
        try:
            if not opened:
                advance = reader.progress.advance
                require_stored(reader.repository, record.part, advance=advance)
                return ""
            return self._contradiction(file, record)
        except (RepositoryUnreachable, IdentityNeeded) as error:
            # Its record names our identity as a recipient, but the file was encrypted for others.
            return error.message
        except VerifyFailed as error:
            is_gone = isinstance(error.__cause__, ObjectMissing) and not self._is_there(file)
            return "" if is_gone else error.message

    def _contradiction(self, file: WalFile, record: ArchivedFile) -> str:
        """Why the content cannot be that file; empty if it can. Raises `VerifyFailed`."""
        longest = LONGEST_HISTORY if file.name.kind is WalKind.HISTORY else HEADER_BYTES
        head = bytearray()
        reader = self._reader
        plain = proven(
            reader.repository,
            record.part,
            identities=reader.identities,
            advance=reader.progress.advance,
        )
        with afterwards(plain.close):
            for chunk in plain:
                head += chunk[: longest - len(head)]
        why = next(_contradictions(file, record, bytes(head)), "")
        return f"cannot trust WAL file '{file.name.text}': {why}" if why else ""

    def _is_there(self, file: WalFile) -> bool:
        """Whether the record is still there: a prune removes it before the content."""
        try:
            self._archive.find(file.cluster, file.name.text)
        except ObjectMissing:
            return False
        except ManifestInvalid:
            return True
        return True


def _contradictions(file: WalFile, record: ArchivedFile, head: bytes) -> Iterator[str]:
    kind = file.name.kind
    if kind is WalKind.HISTORY:
        if switches_in(head.decode(errors="replace")) != record.switches:
            yield "its timeline switches are not those of its record"
    elif kind in (WalKind.SEGMENT, WalKind.PARTIAL):
        header = SegmentHeader.parse(head)
        if header is None:
            yield "it is no WAL segment"
            return
        # A segment that was not filled may be shorter.
        is_whole = kind is WalKind.SEGMENT
        size_bytes = record.part.plain_bytes if is_whole else header.segment_bytes
        name = file.name.text
        why = header.problem(name, size_bytes=size_bytes, system_identifier=file.cluster)
        if why:
            yield why


def _bad(file: WalFile, problem: str) -> BadPart:
    return BadPart(name=f"wal {file.name.text}", problem=problem)
