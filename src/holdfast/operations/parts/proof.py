"""Parts on their way back: proven while they pass, or whole before any of it is given out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from holdfast.model.backup import Part
from holdfast.model.errors import ObjectMissing, VerifyFailed
from holdfast.model.restore import Proven
from holdfast.operations.parts.read import HINT, Opens, called, compare, opened
from holdfast.operations.parts.second_read import SecondCopy
from holdfast.operations.parts.write import proven
from holdfast.pipeline.encryption import Identities
from holdfast.pipeline.flow import CorruptStream, Size
from holdfast.ports.repository import Repository
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.events import reached
from holdfast.runtime.spool import spooled


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
    """Obeys `model.restore.StoredParts` for what a repository holds, which is trusted in nothing.

    Of what is proven beforehand the stored bytes are kept meanwhile, not the plain ones: they are
    fewer, and what is sealed in the repository is not laid open on a disk here.
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
        reached("restore-part-loaded")

    @contextmanager
    def proven(self, part: Part) -> Iterator[Proven]:
        self._require_size(part)
        with spooled(part.stored_bytes) as (spool, why_none):
            kept = SecondCopy(self.repository, part, spool, why_none)
            for _ in proven(kept.first, part, identities=self.identities, both=False):
                pass
            # Whoever reads it a second time has no new bytes.
            counted = iter((self.advance,))
            yield Proven(
                lambda: _plain(kept.second, part, self.identities, next(counted, lambda _: None))
            )
        reached("restore-part-loaded")

    def _require_size(self, part: Part) -> None:
        """Raises `VerifyFailed` before a byte is read, where the store says enough."""
        try:
            found = self.repository.stat(part.key)
        except ObjectMissing as error:
            raise VerifyFailed(f"cannot trust {called(part)}: {error}", hint=HINT) from error
        compare(part, "stored size", found.size_bytes, part.stored_bytes)


def _plain(
    stored: Opens, part: Part, identities: Identities | None, advance: Callable[[int], None]
) -> Iterator[bytes]:
    try:
        for chunk in opened(stored, part, Size(), identities):
            advance(len(chunk))
            yield chunk
    except (CorruptStream, ObjectMissing) as error:
        # It was right a moment ago: the store, or the disk here, gives something else now.
        raise VerifyFailed(
            f"cannot trust {called(part)}: read again, {error}", hint=HINT
        ) from error
