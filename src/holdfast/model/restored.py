"""What became of a restore: rows as they were counted, and what could not be brought back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from holdfast.model.backup import Relation


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
