"""Parts on their way back: proven while they pass, or whole before any of it is given out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from holdfast.errors import ObjectMissing, VerifyFailed
from holdfast.failpoints import reached
from holdfast.model import Part
from holdfast.operations.opening import HINT, Opens, called, compare, opened
from holdfast.operations.parts import proven
from holdfast.pipeline.decrypt import Identities
from holdfast.pipeline.fingerprint import Size
from holdfast.ports import Repository
from holdfast.proven import Proven
from holdfast.spool import Spool, spooled


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryParts:
    """Obeys `ports.StoredParts` for what a repository holds, which is trusted in nothing.

    Of what is proven beforehand the stored bytes are kept meanwhile, not the plain ones: they are
    fewer, and what is sealed in the repository is not laid open on a disk here.
    """

    repository: Repository
    identities: Identities | None = None
    advance: Callable[[int], None] = field(default=lambda _: None)

    @contextmanager
    def streamed(self, part: Part) -> Iterator[Iterator[bytes]]:
        self._require_size(part)
        plain = proven(
            self.repository, part, identities=self.identities, advance=self.advance, both=False
        )
        with closing(plain):
            yield plain
        reached("restore-part-loaded")

    @contextmanager
    def proven(self, part: Part) -> Iterator[Proven]:
        self._require_size(part)
        with spooled(part.stored_bytes, called(part)) as spool:
            self._prove(part, spool)
            # Whoever reads it a second time has no new bytes.
            counted = iter((self.advance,))
            yield Proven(
                lambda: _plain(spool, part, self.identities, next(counted, lambda _: None))
            )
        reached("restore-part-loaded")

    def _require_size(self, part: Part) -> None:
        """Raises `VerifyFailed` before a byte is read, where the store says enough."""
        try:
            found = self.repository.stat(part.key)
        except ObjectMissing as error:
            raise VerifyFailed(f"cannot trust {called(part)}: {error}", hint=HINT) from error
        compare(part, "stored size", found.size_bytes, part.stored_bytes)

    def _prove(self, part: Part, spool: Spool) -> None:
        kept = _Kept(self.repository, spool)
        for _ in proven(kept, part, identities=self.identities, both=False):
            pass


def _plain(
    spool: Spool, part: Part, identities: Identities | None, advance: Callable[[int], None]
) -> Iterator[bytes]:
    for chunk in opened(_Spooled(spool), part, Size(), identities):
        advance(len(chunk))
        yield chunk


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is read from a repository, and kept as it was read."""

    repository: Opens
    spool: Spool

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        with self.repository.open(key) as chunks:
            yield self._watched(chunks)

    def _watched(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.spool.put(chunk)
            yield chunk


@dataclass(frozen=True, slots=True)
class _Spooled:
    """What was kept of one object."""

    spool: Spool

    @contextmanager
    def open(self, _key: str) -> Iterator[Iterator[bytes]]:
        yield iter(self.spool)
