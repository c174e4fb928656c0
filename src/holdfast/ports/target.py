"""The port to a database, or a folder, to restore into."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from holdfast.model.errors import Unsupported
from holdfast.model.lazy_dataclass import dataclass, field
from holdfast.ports.port import Port

if TYPE_CHECKING:
    from holdfast.model.backup import Part, Relation
    from holdfast.model.restore import OpenBlob, Restored, StoredParts
    from holdfast.ports.run import Progress


class Way(Enum):
    """A way to restore, given by what the backup holds and where it goes.

    Each value is the reason why this way refuses some options, and the hint of that error.
    """

    ROWS = ("holdfast itself restores the rows", "leave the option out")
    DUMP = ("pg_restore restores them", "leave the option out")
    PLAIN_DUMP = (
        "a dump in plain SQL can only be restored as a whole",
        "restore it into a new database, and copy from there",
    )
    STANDING_TABLES = (
        "rows of existing tables are restored all together or not at all",
        "leave --keep-going out, or restore into a new database and copy from there",
    )
    ROWS_OF_DUMP = (
        "rows of a dump are only added to existing tables, all or none",
        "leave the option out and empty the tables first, or restore into a new database",
    )
    CLUSTER = (
        "the files of a cluster belong together",
        "restore all of it into an empty folder, start a server there, and copy from it",
    )
    SQL = ("only PostgreSQL supports this", "leave the option out")
    SQL_DUMP = (
        "the database was dumped in one piece",
        "restore it under another name and copy from there, or back up with backup_as_tables",
    )
    DATADIR = (
        "the backup holds the files of a server",
        "restore all of it, start a server on it, and dump the table from there",
    )


_POSTGRES = (Way.ROWS, Way.DUMP, Way.STANDING_TABLES, Way.ROWS_OF_DUMP)


def _option(words: str, *ways: Way, default: object = False) -> Any:
    """An option, described by `words` in errors, and the ways that obey it: all others refuse."""
    return field(default=default, metadata={"words": words, "ways": ways})


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What the operator asked to restore, and how; each option names the ways that obey it.

    `tables` and `schemas` are named as the operator wrote them; none means all. `data_only` fills
    existing tables. `triggers` says whether rows restored into such tables fire triggers, foreign
    keys included. `owners`, `privileges` and `tablespaces` restore those of the backup. With
    `keep_going` the restore continues after an object that cannot be created.
    """

    tables: Sequence[str] = _option("single tables", *_POSTGRES, Way.SQL, default=())
    schemas: Sequence[str] = _option("single schemas", *_POSTGRES, Way.SQL, default=())
    overwrite: bool = _option(
        "over existing data",
        *(Way.ROWS, Way.STANDING_TABLES, Way.DUMP, Way.PLAIN_DUMP),
        *(Way.SQL, Way.SQL_DUMP, Way.DATADIR),
    )
    globals: bool = _option(
        "roles or accounts", *_POSTGRES, Way.PLAIN_DUMP, Way.SQL, Way.SQL_DUMP, Way.DATADIR
    )
    data_only: bool = _option("rows alone", *_POSTGRES)
    triggers: bool = _option("rows without firing triggers", *_POSTGRES, default=True)
    owners: bool = _option("everything but owners", *_POSTGRES, default=True)
    privileges: bool = _option("everything but privileges", *_POSTGRES, default=True)
    tablespaces: bool = _option("everything but tablespaces", *_POSTGRES, default=True)
    keep_going: bool = _option("past errors", Way.ROWS, Way.DUMP, Way.PLAIN_DUMP, Way.SQL)

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the backup is left out."""
        return not self.tables and not self.schemas and not self.data_only


WHOLE = RestoreOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What to restore and how.

    Where `parts` are those of an incremental backup, `earlier` holds the parts of the backups
    below it, the full one first; all come from a server of `server_version`. `tables` are those
    that the options name; none means all. `settings` are written for the server of a restored
    cluster; with a `restore_command` among them that server recovers by itself.
    """

    parts: tuple[Part, ...]
    options: RestoreOptions = WHOLE
    earlier: tuple[tuple[Part, ...], ...] = ()
    server_version: str = ""
    tables: tuple[Relation, ...] = ()
    workers: int = 1
    open_blob: OpenBlob | None = None
    settings: Mapping[str, str] | None = None

    def require_obeyed(self, way: Way, *, into: str) -> None:
        """Raise `Unsupported` for the first option that this way of restoring would not obey."""
        from dataclasses import fields  # not for those who only load

        for each in fields(self.options):
            is_asked = getattr(self.options, each.name) != each.default
            if each.name == "tables":
                is_asked = bool(self.tables)
            if is_asked and way not in each.metadata["ways"]:
                because, hint = way.value
                raise Unsupported(
                    f"cannot restore {each.metadata['words']} into {into}: {because}", hint=hint
                )


class Target(Port, ABC):
    """A database, or a folder, to restore into."""

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The target without its secrets, for messages."""

    @abstractmethod
    def restore(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> Restored:
        """Restore the parts in the order of their kinds, data with `workers` sessions.

        Creates the database where it is missing. Calls only `part_done` of `progress`: bytes are
        counted where `stored` reads them. Raises `Unsupported` for an option that it does not
        obey, and `TargetNotEmpty` unless `overwrite`. Raises `RestoreFailed` with the object's
        name at the first error, unless `keep_going`. By then the server's work has ended and
        every child process is reaped.
        """
