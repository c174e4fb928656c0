"""The smallest loop that stores a source's parts as files, to test the engine alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.model.backup import Buffer, Codec, Part, PartPlan, Relation
from holdfast.model.fingerprints import algorithm_of, fingerprint_of, of_sha256
from holdfast.model.restore import Restored, RestoredTable
from holdfast.ports.source import Snapshot, Source
from holdfast.ports.target import RestoreOptions, RestoreRequest, Target
from tests.fakes.stored import FakeStored

CHUNK_BYTES = 100_003


class Unwatched:
    """Progress that is ignored."""

    def begin(self, *, total_bytes: int, parts: int) -> None: ...

    def advance(self, size_bytes: int) -> None: ...

    def part_done(self, name: str) -> None: ...


class FolderBlobs:
    """Obeys `ports.source.Blobs`: blobs as files named by their fingerprint."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.read = 0

    def keep(self, fingerprint: str, size_bytes: int, read: Callable[[], Iterable[Buffer]]) -> None:
        path = self._folder / fingerprint
        if path.exists():
            return
        self.read += 1
        value = b"".join(bytes(chunk) for chunk in read())
        found = fingerprint_of(value, algorithm_of(fingerprint))
        assert (len(value), found) == (size_bytes, fingerprint)
        path.write_bytes(value)

    def take(self, read: Callable[[], Iterable[Buffer]]) -> tuple[str, int]:
        value = b"".join(bytes(chunk) for chunk in read())
        fingerprint = fingerprint_of(value)
        self.keep(fingerprint, len(value), lambda: [value])
        return fingerprint, len(value)

    @contextmanager
    def open(self, fingerprint: str) -> Iterator[Iterator[bytes]]:
        with (self._folder / fingerprint).open("rb") as file:
            yield iter(lambda: file.read(CHUNK_BYTES), b"")


def keep(
    source: Source,
    folder: Path,
    *,
    workers: int = 2,
    meanwhile: Callable[[Snapshot], None] = lambda _: None,
    blobs: FolderBlobs | None = None,
) -> tuple[Part, ...]:
    """Store every part as a file in `folder`; `meanwhile` runs once the snapshot exists."""
    with (
        source.open(workers=workers, blobs=blobs) as snapshot,
        ThreadPoolExecutor(workers) as pool,
    ):
        meanwhile(snapshot)
        return tuple(pool.map(lambda plan: keep_part(snapshot, plan, folder), snapshot.parts))


def keep_part(snapshot: Snapshot, plan: PartPlan, folder: Path) -> Part:
    path = folder / plan.name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with snapshot.read(plan) as stream, path.open("wb") as file:
        for chunk in stream:
            digest.update(chunk)
            file.write(chunk)
        rows, members = stream.rows, tuple(stream.members)
        checksum = stream.checksum
    size = path.stat().st_size
    return Part(
        name=plan.name,
        key=plan.name,
        kind=plan.kind,
        relation=plan.relation,
        ancestors=plan.ancestors,
        rows=rows,
        plain_bytes=size,
        plain_fingerprint=of_sha256(digest.hexdigest()),
        stored_bytes=size,
        stored_fingerprint=of_sha256(digest.hexdigest()),
        codec=Codec.NONE,
        encryption="none",
        seconds=0.0,
        details=plan.details,
        members=members,
        checksum=checksum,
    )


def opener(folder: Path) -> FakeStored:
    @contextmanager
    def open_part(part: Part) -> Iterator[Iterator[bytes]]:
        with (folder / part.key).open("rb") as file:
            yield iter(lambda: file.read(CHUNK_BYTES), b"")

    return FakeStored(open_part)


def bring_back(
    target: Target, parts: Sequence[Part], folder: Path, **wanted: Any
) -> list[RestoredTable]:
    """The restored tables as the target counted them; `wanted` as for `restored`."""
    return list(restored(target, parts, folder, **wanted).tables)


def restored(
    target: Target,
    parts: Sequence[Part],
    folder: Path,
    *,
    with_globals: bool = False,
    blobs: FolderBlobs | None = None,
    tables: Sequence[Relation] = (),
    **wanted: Any,
) -> Restored:
    """The result of a restore; `wanted` are fields of `RestoreOptions`."""
    request = RestoreRequest(
        parts=tuple(parts),
        tables=tuple(tables),
        workers=2,
        open_blob=blobs.open if blobs else None,
        options=RestoreOptions(globals=with_globals, **wanted),
    )
    return target.restore(request, opener(folder), Unwatched())
