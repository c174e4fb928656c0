"""A restore: the stored bytes that it is given, proven, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, final

from holdfast.model.backup import Part, Relation
from holdfast.model.errors import RestoreFailed

# A definition of 100,000 tables has some 200 MB; what is longer is no text to hold in memory.
MOST_WHOLE_BYTES = 1 << 29


@final
class Proven:
    """The plain bytes of a stored part, no byte of which is given out before the last was proven.

    Whatever carries out what it is given (psql, mariadb, pg_restore, an unpacker) takes this type
    and no other. Only `operations.proof` makes one out of what a repository holds; all others are
    derived from one.
    """

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], Iterator[bytes]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[bytes]:
        """All of them in chunks of a bounded size; may be asked for more than once."""
        return self._read()

    def whole(self) -> bytes:
        """All of them at once; raises `RestoreFailed` where they are too many to be a text."""
        pieces: list[bytes] = []
        size_bytes = 0
        for chunk in self:
            size_bytes += len(chunk)
            if size_bytes > MOST_WHOLE_BYTES:
                raise RestoreFailed(
                    f"cannot hold a script in memory: it has more than {MOST_WHOLE_BYTES} bytes"
                )
            pieces.append(chunk)
        return b"".join(pieces)

    def text(self) -> str:
        """All of them as text; what is no UTF-8 comes out of `rewritten` again as it went in."""
        return self.whole().decode("utf-8", errors="surrogateescape")

    def rewritten(self, change: Callable[[str], str]) -> Proven:
        """What `change`, which is our own code, makes of them as a text."""
        return self.derived(
            lambda _: [change(self.text()).encode("utf-8", errors="surrogateescape")]
        )

    def derived(self, change: Callable[[Iterator[bytes]], Iterable[bytes]]) -> Proven:
        """What `change`, which is our own code, makes of these bytes."""
        return Proven(lambda: iter(change(self._read())))


OpenBlob = Callable[[str], AbstractContextManager[Iterator[bytes]]]
"""The long value with that SHA-256, proven as parts are. Raises `VerifyFailed`."""

OpenPart = Callable[[Part], AbstractContextManager[Iterator[bytes]]]
"""Plain bytes of a stored part, proven against its fingerprint: the last chunk is only
yielded after the whole has been found right, else `VerifyFailed` is raised."""


class Streamed(Protocol):
    """Plain bytes on their way; the last chunk comes only after the whole was found right."""

    def __iter__(self) -> Iterator[bytes]: ...

    def prove(self) -> None:
        """Read what is left of them: raises `VerifyFailed` unless all of it is right.

        For whoever cannot make sense of them: what is not proven need not make any.
        """
        ...


@contextmanager
def proving(streamed: Streamed, *errors: type[Exception]) -> Iterator[None]:
    """Where the block fails in one of these ways, first find out whether the bytes are to blame."""
    try:
        yield
    except errors:
        streamed.prove()
        raise


class StoredParts(Protocol):
    """The parts of a backup on their way back.

    Both ways compare the size of what is stored before the first byte is read, and stop at the
    sizes that the manifest states. Both raise `VerifyFailed`.
    """

    def streamed(self, part: Part) -> AbstractContextManager[Streamed]:
        """The plain bytes as they come: only for what can be taken back, such as rows inside a
        transaction, or files in a folder of ours."""
        ...

    def proven(self, part: Part) -> AbstractContextManager[Proven]:
        """The plain bytes after all of them were found right: for whatever is carried out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredTable:
    """One table after a restore, counted by the server itself.

    `checksum_found` is what the server computed over its rows now; empty where the backup has
    none to compare it with.
    """

    relation: Relation
    rows_expected: int
    rows_found: int
    checksum_expected: str = ""
    checksum_found: str = ""

    @property
    def problem(self) -> str:
        """What is wrong with the rows, in words; empty where they are those of the backup."""
        if self.rows_found != self.rows_expected:
            return f"has {self.rows_found} rows instead of {self.rows_expected}"
        if self.checksum_found != self.checksum_expected:
            return "holds other values than were backed up (its checksum differs)"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedObject:
    """One object that a restore which keeps going could not bring back.

    `kind` is the server's own word in lower case ("foreign key"), "rows" for those of a table.
    `statement` makes the object once `cause` is gone, run by itself behind `Restored.preamble`;
    empty where no statement does. With `is_secret` it may hold a password.
    """

    kind: str
    name: str
    statement: str
    cause: str
    is_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of a restore.

    `failed` is in the order in which the objects are to be made; only with `keep_going` are
    there any. `preamble` is the SQL that a script of their statements begins with. `notes` say
    what is as good as it could be made, and yet not as it was.
    """

    tables: tuple[RestoredTable, ...] = ()
    failed: tuple[FailedObject, ...] = ()
    preamble: str = ""
    notes: tuple[str, ...] = ()


class FailedStatements(Protocol):
    """Where the statements of failed objects wait until somebody runs them."""

    def keep(self, backup_id: str, script: str) -> str:
        """Keep `script`, all or nothing, for its owner only; where it is, for messages."""
        ...
