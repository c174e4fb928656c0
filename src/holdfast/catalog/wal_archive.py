"""The archived WAL of a job, beside its backups: `JOB.wal/CLUSTER/TIMELINE/NAME/`.

No job has such a name, as names have no dot, so listing or sweeping a job never meets its WAL. Each
file has its own folder with its content and a manifest. The manifest is written last, and signed
where the manifests of backups are signed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from holdfast.catalog.documents import unwrapped, wrapped
from holdfast.catalog.places import MANIFEST, WAL, is_below
from holdfast.model.errors import ManifestInvalid
from holdfast.model.fingerprints import fingerprint_in
from holdfast.model.stored_json import RECORD, Unreadable, damaged, plain, typed
from holdfast.model.stored_parts import part_as_stored, part_from
from holdfast.model.wal import Position, WalKind, WalName, is_segment_size
from holdfast.model.wal_archive import ArchivedFile, Held
from holdfast.ports.repository import Repository, Stored, read_document

SCHEMA = "holdfast.wal/2"
# The schemas that can be read, newest first, with the schema of the part in each.
SCHEMAS = {SCHEMA: 2, "holdfast.wal/1": 1}
NAME = "file"
# JOB.wal, cluster, timeline, name.
DEPTH = 4


class WalArchive:
    """Reads and writes the records of a job's archived files."""

    def __init__(self, repository: Repository, job: str) -> None:
        self._repository = repository
        self._job = job

    @property
    def folder(self) -> str:
        """The folder of all archived WAL of the job."""
        return f"{self._job}{WAL}"

    def commit(self, file: ArchivedFile) -> None:
        """Turn the stored content into an archived file; raises `AlreadyStored`."""
        key = self._record_key(file.cluster, file.name)
        body = plain(file)
        # Only the journal stores it.
        del body["part"]["memo"]
        part_as_stored(body["part"], file.part)
        self._repository.put(key, [wrapped(body, schema=SCHEMA, name=NAME)])

    def find(self, cluster: str, name: str) -> ArchivedFile:
        """The record of a file; raises `ObjectMissing` if it is not archived, and
        `ManifestInvalid`."""
        key = self._record_key(cluster, name)
        data = read_document(self._repository, key, RECORD)
        found, body = unwrapped(data, schemas=[*SCHEMAS], name=NAME, key=key, limits=RECORD)
        try:
            part = part_from(body.get("part"), SCHEMAS[found])
            file = typed(ArchivedFile, body | {"part": part})
            self._require_sound(file)
        except Unreadable as error:
            raise damaged(key, error) from error
        if (file.job, file.cluster, file.name) != (self._job, cluster, name):
            raise ManifestInvalid(
                f"cannot read '{key}': it belongs to '{file.name}'",
                hint="it was moved after it was written",
            )
        return file

    def _require_sound(self, file: ArchivedFile) -> None:
        """Raise `Unreadable` if a value is impossible, or belongs to another file."""
        if not is_below(self._folder(file.cluster, file.name) + "/", file.part.key):
            raise Unreadable(f"its content '{file.part.key[:200]}' does not belong to this file")
        # A server removes the file for which this is the fingerprint.
        fingerprint_in(file.part.plain_fingerprint, is_proof=True)
        name, size_bytes = WalName.parse(file.name), file.part.plain_bytes
        if name is None or (name.kind is WalKind.SEGMENT and not is_segment_size(size_bytes)):
            raise Unreadable(f"'{file.name[:80]}' of {size_bytes} bytes is not a WAL file")
        for switch in file.switches:
            if not Position.is_one(switch.at):
                raise Unreadable(f"its timeline switch '{switch.at[:80]}' is not a position in WAL")
        for made in file.tablespaces or ():
            if not (Position.is_one(made.at) and Position.is_one(made.after)):
                raise Unreadable(f"its tablespace at '{made.at[:80]}' has no valid position in WAL")

    def content_key(self, cluster: str, name: str, *, token: str, suffix: str) -> str:
        """The key of a file's content; a new `token` for each attempt keeps the keys distinct."""
        return f"{self._folder(cluster, name)}/{token}{suffix}"

    def held(self) -> list[Held]:
        """Every file, sorted by cluster and name; lists the repository once and reads no object."""
        found = groupby(self._repository.list(self.folder), key=_folder_of)
        return sorted(
            (each for folder, objects in found for each in self._held(folder, list(objects))),
            key=lambda each: (each.cluster, each.name.text),
        )

    def _held(self, folder: str, objects: list[Stored]) -> Iterator[Held]:
        """Yields nothing if `folder` cannot hold a file of the WAL."""
        parts = folder.split("/")
        # Keys are in lower case; the server writes digits in upper case and words in lower case.
        digits, dot, word = parts[-1].partition(".")
        name = WalName.parse(f"{digits.upper()}{dot}{_word(word)}")
        if name is not None and len(parts) == DEPTH and folder == self._folder(parts[1], name.text):
            yield Held(
                cluster=parts[1],
                name=name,
                keys=tuple(each.key for each in objects),
                size_bytes=sum(each.size_bytes for each in objects),
                is_archived=_is_archived(folder, objects),
            )

    def drop(self, file: Held) -> None:
        """Remove a file, its record first: what an interrupted drop leaves is not archived."""
        for key in sorted(file.keys, key=lambda key: not key.endswith(f"/{MANIFEST}")):
            self._repository.delete(key)

    def forget(self, file: ArchivedFile) -> None:
        """Remove a file from the archive, its record first, like `drop`."""
        self._repository.delete(self._record_key(file.cluster, file.name))
        self._repository.delete(file.part.key)

    def _record_key(self, cluster: str, name: str) -> str:
        return f"{self._folder(cluster, name)}/{MANIFEST}"

    def _folder(self, cluster: str, name: str) -> str:
        return f"{self.folder}/{cluster}/{name[:8].lower()}/{name.lower()}"


def _is_archived(folder: str, objects: list[Stored]) -> bool:
    """Whether there are a record and some content: a list alone cannot tell more."""
    record = f"{folder}/{MANIFEST}"
    keys = {each.key for each in objects if each.size_bytes}
    return record in keys and len(keys) > 1


def _folder_of(stored: Stored) -> str:
    return stored.key.rpartition("/")[0]


def _word(word: str) -> str:
    offset, dot, rest = word.partition(".")
    return f"{offset.upper()}{dot}{rest}" if dot else word
