"""The WAL that is archived for a job, beside its backups: `JOB.wal/CLUSTER/TIMELINE/NAME/`.

No job is called so, as a name has no dot: whoever lists or sweeps a job never meets its WAL. Each
file has a folder of its own, with what it holds and a manifest, which is written last and is
signed where the manifests of backups are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from holdfast.archiving import ArchivedFile, Held
from holdfast.catalog.documents import unwrapped, wrapped
from holdfast.catalog.places import MANIFEST, WAL
from holdfast.errors import ManifestInvalid
from holdfast.ports import Repository, Stored
from holdfast.wal import WalName

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = "holdfast.wal/1"
NAME = "file"
# JOB.wal, cluster, timeline, name, object.
DEPTH = 5


class WalArchive:
    """Reads and writes the records of archived files of one job."""

    def __init__(self, repository: Repository, job: str) -> None:
        self._repository = repository
        self._job = job

    def commit(self, file: ArchivedFile) -> None:
        """Make what is stored already an archived file; raises `AlreadyStored`."""
        key = self._record_key(file.cluster, file.name)
        body: dict[str, Any] = _adapter().dump_python(file, mode="json", exclude={"part": {"memo"}})
        self._repository.put(key, [wrapped(body, schema=SCHEMA, name=NAME)])

    def find(self, cluster: str, name: str) -> ArchivedFile:
        """The record of a file; raises `ObjectMissing` where it is not archived, and
        `ManifestInvalid`."""
        key = self._record_key(cluster, name)
        with self._repository.open(key) as chunks:
            body = unwrapped(b"".join(chunks), schema=SCHEMA, name=NAME, key=key)
        try:
            file = _adapter().validate_python(body, strict=False)
        except ValueError as error:
            raise ManifestInvalid(f"cannot read manifest '{key}': {error}") from error
        if (file.job, file.cluster, file.name) != (self._job, cluster, name):
            raise ManifestInvalid(
                f"cannot read manifest '{key}': it is that of '{file.name}'",
                hint="it was moved after it was written",
            )
        return file

    def content_key(self, cluster: str, name: str, *, token: str, suffix: str) -> str:
        """Where the bytes of a file go; with another `token` each time, so that no two meet."""
        return f"{self._folder(cluster, name)}/{token}{suffix}"

    def held(self) -> list[Held]:
        """Every file, by cluster and name; one list of the repository, and nothing is read."""
        found = groupby(self._repository.list(f"{self._job}{WAL}"), key=_folder_of)
        return sorted(
            (each for folder, objects in found for each in _held(folder, list(objects))),
            key=lambda each: (each.cluster, each.name.text),
        )

    def drop(self, file: Held) -> None:
        """The record first: what is left of a drop that was killed is no file."""
        for key in sorted(file.keys, key=lambda key: not key.endswith(f"/{MANIFEST}")):
            self._repository.delete(key)

    def _record_key(self, cluster: str, name: str) -> str:
        return f"{self._folder(cluster, name)}/{MANIFEST}"

    def _folder(self, cluster: str, name: str) -> str:
        return f"{self._job}{WAL}/{cluster}/{name[:8].lower()}/{name.lower()}"


@cache
def _adapter() -> TypeAdapter[ArchivedFile]:
    from pydantic import TypeAdapter

    return TypeAdapter(ArchivedFile)


def _folder_of(stored: Stored) -> str:
    return stored.key.rpartition("/")[0]


def _held(folder: str, objects: list[Stored]) -> Iterator[Held]:
    parts = folder.split("/")
    if len(parts) != DEPTH - 1:
        return
    # Keys are in small letters everywhere; the server's digits are capitals, its words are not.
    digits, dot, word = parts[-1].partition(".")
    name = WalName.parse(f"{digits.upper()}{dot}{_word(word)}")
    if name is not None:
        yield Held(
            cluster=parts[1],
            name=name,
            keys=tuple(each.key for each in objects),
            size_bytes=sum(each.size_bytes for each in objects),
            is_archived=any(each.key == f"{folder}/{MANIFEST}" for each in objects),
        )


def _word(word: str) -> str:
    offset, dot, rest = word.partition(".")
    return f"{offset.upper()}{dot}{rest}" if dot else word
