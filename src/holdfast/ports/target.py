"""The port to a database, or a folder, to restore into."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.model.backup import Part, Relation
from holdfast.model.restore import OpenBlob, Restored, StoredParts
from holdfast.ports.port import Port
from holdfast.ports.run import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What to bring back and how.

    Where `parts` hold only changes, `earlier` are those of the backups below, the full one first,
    all of a server of `server_version`.
    `data_only` fills tables that stand already. `triggers` are fired by rows that come into
    such tables, foreign keys included. `owners`, `privileges` and `tablespaces` are those of the
    backup.
    With `keep_going` one object that cannot be made does not cost the others.
    `settings` are written for the server of a restored cluster; with a `restore_command` among
    them it recovers by itself.
    """

    parts: tuple[Part, ...]
    earlier: tuple[tuple[Part, ...], ...] = ()
    server_version: str = ""
    tables: tuple[Relation, ...] = ()
    overwrite: bool = False
    globals: bool = False
    workers: int = 1
    data_only: bool = False
    triggers: bool = True
    owners: bool = True
    privileges: bool = True
    tablespaces: bool = True
    keep_going: bool = False
    open_blob: OpenBlob | None = None
    settings: Mapping[str, str] | None = None


class Target(Port, ABC):
    """A database, or a folder, to restore into."""

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The target without its secrets, for messages."""

    @abstractmethod
    def restore(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> Restored:
        """Bring the parts back in the order of their kinds, data with `workers` sessions.

        Creates the database where it is missing. `progress` wants `part_done` from here only:
        bytes are counted where `stored` reads them. Raises `TargetNotEmpty` unless `overwrite`,
        `RestoreFailed` with the object's name at the first error, unless the request has
        `keep_going`; the server's work has ended and every child process is reaped by then.
        """
