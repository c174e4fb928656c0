"""A restore: the proven stored bytes that it receives, and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, final

from holdfast.model.backup import Part, Relation
from holdfast.model.errors import RestoreFailed
from holdfast.model.lazy_dataclass import dataclass

# The definitions of 100,000 tables take some 200 MB; more is no text to hold in memory.
MOST_WHOLE_BYTES = 1 << 29


@final
class Proven:
    """The plain bytes of a stored part; none is yielded before all of them were proven.

    Every program that executes its input (psql, mariadb, pg_restore, an unpacker) takes this type
    and no other. Only `operations.proof` makes one from what a repository holds; all others are
    derived from one.
    """

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], Iterator[bytes]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[bytes]:
        """All bytes in chunks of a bounded size; may be iterated more than once."""
        return self._read()

    def whole(self) -> bytes:
        """All bytes at once; raises `RestoreFailed` if they are too many for a text."""
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
        """All bytes as text; `rewritten` writes bytes that are not UTF-8 back unchanged."""
        return self.whole().decode("utf-8", errors="surrogateescape")

    def rewritten(self, change: Callable[[str], str]) -> Proven:
        """The text after `change`, which must be our own code."""
        return self.derived(
            lambda _: [change(self.text()).encode("utf-8", errors="surrogateescape")]
        )

    def derived(self, change: Callable[[Iterator[bytes]], Iterable[bytes]]) -> Proven:
        """The bytes after `change`, which must be our own code."""
        return Proven(lambda: iter(change(self._read())))


OpenBlob = Callable[[str], AbstractContextManager[Iterator[bytes]]]
"""Opens the blob with that fingerprint, proven as parts are; raises `VerifyFailed`."""

OpenPart = Callable[[Part], AbstractContextManager[Iterator[bytes]]]
"""Opens the plain bytes of a stored part, proven against its fingerprint.

The last chunk is yielded only after the whole was found right; else `VerifyFailed` is raised.
"""


class Streamed(Protocol):
    """Plain bytes in transit; the last chunk comes only after all of them were proven."""

    def __iter__(self) -> Iterator[bytes]: ...

    def prove(self) -> None:
        """Read the remaining bytes; raises `VerifyFailed` unless all of them are right.

        For a consumer that fails on their content: damaged bytes may be the cause.
        """
        ...


@contextmanager
def proving(streamed: Streamed, *errors: type[Exception]) -> Iterator[None]:
    """If the block raises one of `errors`, check first whether damaged bytes are the cause."""
    try:
        yield
    except errors:
        streamed.prove()
        raise


class StoredParts(Protocol):
    """The parts of a backup, read for a restore.

    Both ways compare the stored size before the first byte is read, and stop at the sizes that the
    manifest states. Both raise `VerifyFailed`.
    """

    def streamed(self, part: Part) -> AbstractContextManager[Streamed]:
        """The plain bytes as they arrive.

        Only for what can be undone, such as rows inside a transaction, or files in a folder of our
        own.
        """
        ...

    def proven(self, part: Part) -> AbstractContextManager[Proven]:
        """The plain bytes after all of them were proven: for everything that executes them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredTable:
    """One table after a restore, counted by the server itself.

    `checksum_found` is what the server computed over its rows now; empty if the backup has no
    checksum to compare.
    """

    relation: Relation
    rows_expected: int
    rows_found: int
    checksum_expected: str = ""
    checksum_found: str = ""

    @property
    def problem(self) -> str:
        """What is wrong with the rows, in words; empty if they equal those of the backup."""
        if self.rows_found != self.rows_expected:
            return f"has {self.rows_found} rows instead of {self.rows_expected}"
        if self.checksum_found != self.checksum_expected:
            return "holds other values than were backed up (its checksum differs)"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedObject:
    """One object that a restore with `keep_going` could not restore.

    `kind` is the server's own word in lower case ("foreign key"), or "rows" for a table's rows.
    `statement` creates the object once `cause` is removed; it runs by itself after
    `Restored.preamble`. It is empty if no statement creates the object. With `is_secret` it may
    hold a password.
    """

    kind: str
    name: str
    statement: str
    cause: str
    is_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The result of a restore.

    `failed` lists objects in the order in which they must be created; it is empty without
    `keep_going`. `preamble` is the SQL that a script of their statements begins with. `notes` name
    what was restored as well as possible, but not exactly.
    """

    tables: tuple[RestoredTable, ...] = ()
    failed: tuple[FailedObject, ...] = ()
    preamble: str = ""
    notes: tuple[str, ...] = ()


class FailedStatements(Protocol):
    """Where the statements of failed objects wait until an operator runs them."""

    def keep(self, backup_id: str, script: str) -> str:
        """Write `script` atomically, readable by its owner only; returns its place for messages."""
        ...
