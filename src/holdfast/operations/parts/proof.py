"""Read parts for a restore, verified while they stream or completely before the first byte."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import field
from typing import TYPE_CHECKING

from holdfast.model.errors import ObjectMissing, RestoreFailed, VerifyFailed
from holdfast.model.fingerprints import BLAKE3, digest
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import Proven
from holdfast.operations.parts.read import HINT, Opens, called, compare, opened, proven
from holdfast.pipeline.flow import CorruptStream, Size
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.spool import Spool, spooled

if TYPE_CHECKING:
    from holdfast.model.backup import Part
    from holdfast.pipeline.encryption import Identities
    from holdfast.ports.repository import Repository

# 32 bytes of memory for each block: 5 MB for a part of 150 GB.
BLOCK_BYTES = 1 << 20


class Passing:
    """Obeys `model.restore.Streamed`."""

    def __init__(self, chunks: Generator[bytes, None, None]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def prove(self) -> None:
        for _ in self._chunks:
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryParts:
    """Obeys `model.restore.StoredParts` for the parts of a repository, none of which is trusted.

    A part that is verified before its use is spooled as stored bytes, not as plain bytes. They are
    fewer, and sealed content must not lie open on a disk of this host.
    """

    repository: Repository
    identities: Identities | None = None
    advance: Callable[[int], None] = field(default=lambda _: None)

    @contextmanager
    def streamed(self, part: Part) -> Iterator[Passing]:
        self._require_size(part)
        plain = proven(
            self.repository, part, identities=self.identities, advance=self.advance, both=False
        )
        with afterwards(plain.close):
            yield Passing(plain)
        events.reached("restore-part-loaded")

    @contextmanager
    def proven(self, part: Part) -> Iterator[Proven]:
        self._require_size(part)
        with spooled(part.stored_bytes) as (spool, why_none):
            kept = SecondCopy(self.repository, part, spool, why_none=why_none)
            for _ in proven(kept.first, part, identities=self.identities, both=False):
                pass
            # Progress counts a part once, also if the restore reads it again.
            counted = iter((self.advance,))
            yield Proven(
                lambda: _plain(
                    kept.second,
                    part,
                    identities=self.identities,
                    advance=next(counted, lambda _: None),
                )
            )
        events.reached("restore-part-loaded")

    def _require_size(self, part: Part) -> None:
        """Raises `VerifyFailed`, before a byte is read, for a missing part or another size."""
        try:
            found = self.repository.stat(part.key)
        except ObjectMissing as error:
            raise VerifyFailed(f"cannot trust {called(part)}: {error}", hint=HINT) from error
        compare(part, "stored size", found=found.size_bytes, expected=part.stored_bytes)


def _plain(
    stored: Opens, part: Part, *, identities: Identities | None, advance: Callable[[int], None]
) -> Iterator[bytes]:
    try:
        for chunk in opened(stored, part, stored=Size(), identities=identities):
            advance(len(chunk))
            yield chunk
    except (CorruptStream, ObjectMissing) as error:
        # The first reading was right: the store, or the disk here, returns other bytes now.
        raise VerifyFailed(
            f"cannot trust {called(part)}: its second reading failed: {error}", hint=HINT
        ) from error


@dataclass(frozen=True, slots=True)
class _From:
    """Obeys `parts.read.Opens`."""

    open: Callable[[str], AbstractContextManager[Iterator[bytes]]]


class SecondCopy:
    """The stored bytes of one part, read as `first` from the repository and then as `second`.

    `second` comes from the spool. Without a spool it is read from the repository again and compared
    with the fingerprint of each block of `first`.
    """

    def __init__(
        self, repository: Opens, part: Part, spool: Spool | None, *, why_none: str
    ) -> None:
        self._repository = repository
        self._part = part
        self._spool = spool
        self._digests: list[bytes] = []
        self._begun = b""
        if spool is None:
            self._tell(why_none)

    @property
    def first(self) -> Opens:
        return _From(self._read)

    @property
    def second(self) -> Opens:
        return _From(self._read_again)

    @contextmanager
    def _read(self, key: str) -> Iterator[Iterator[bytes]]:
        with self._repository.open(key) as chunks:
            yield self._watched(chunks)

    def _watched(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._keep(chunk)
            yield chunk
        if self._begun:
            self._digests.append(_fingerprint(self._begun))
            self._begun = b""

    def _keep(self, chunk: bytes) -> None:
        if self._spool is not None:
            try:
                self._spool.put(chunk)
            except RestoreFailed as error:
                self._spill(self._spool, error.message)
            else:
                return
        *blocks, self._begun = _cut(self._begun + chunk)
        self._digests += [_fingerprint(block) for block in blocks]

    def _spill(self, spool: Spool, why: str) -> None:
        """The disk has become full: replace the spool by the fingerprints of its blocks."""
        self._spool = None
        for chunk in spool:
            self._keep(chunk)
        spool.give_back()
        self._tell(why)

    def _tell(self, why: str) -> None:
        events.info("part_read_twice", part=self._part.name, because=why)

    @contextmanager
    def _read_again(self, key: str) -> Iterator[Iterator[bytes]]:
        if self._spool is not None:
            yield iter(self._spool)
            return
        with self._repository.open(key) as chunks:
            yield self._compared(chunks)

    def _compared(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The blocks, each equal to that of the first reading; else raises `VerifyFailed`."""
        digests = iter(self._digests)
        for block in _blocks(chunks):
            if _fingerprint(block) != next(digests, None):
                raise self._changed()
            yield block
        if next(digests, None) is not None:
            raise self._changed()

    def _changed(self) -> VerifyFailed:
        return VerifyFailed(
            f"cannot trust {called(self._part)}: the store returned other bytes at the second"
            " reading",
            hint=HINT,
        )


def _fingerprint(block: bytes) -> bytes:
    found = digest(BLAKE3)
    found.update(block)
    return found.digest()


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    begun = b""
    for chunk in chunks:
        *blocks, begun = _cut(begun + chunk)
        yield from blocks
    if begun:
        yield begun


def _cut(content: bytes) -> list[bytes]:
    """Whole blocks, and last the rest, which may be empty."""
    whole = len(content) - len(content) % BLOCK_BYTES
    blocks = [content[at : at + BLOCK_BYTES] for at in range(0, whole, BLOCK_BYTES)]
    return [*blocks, content[whole:]]
