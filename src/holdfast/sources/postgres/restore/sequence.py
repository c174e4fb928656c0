"""The restore of a PostgreSQL database, in one sequence for both engines.

This module fixes the order of checks, creation and loading. An engine adds how it restores its
own definitions and rows. The restore reports finished parts; the reader of the parts counts their
bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from holdfast.model.backup import PartKind
from holdfast.model.errors import Unsupported
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import FailedObject, Restored, RestoredTable
from holdfast.ports.target import RestoreRequest, Way
from holdfast.sources.postgres.restore import definitions, selection
from holdfast.sources.postgres.restore.definition_parts import DefinitionParts
from holdfast.sources.postgres.restore.definitions import PREAMBLE
from holdfast.sources.postgres.restore.final_checks import analyze, make_durable
from holdfast.sources.postgres.restore.selection import RestoreContext
from holdfast.sources.postgres.restore.staging_database import Cluster, connected, content, staged
from holdfast.sources.postgres.server.login import Login


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What an engine restored: its tables, the rows that could not be loaded, and notes."""

    tables: tuple[RestoredTable, ...] = ()
    unloaded: tuple[FailedObject, ...] = ()
    notes: tuple[str, ...] = ()


class DatabaseRestore(ABC):
    """The steps that all engines share; `login` is that of the requested database.

    With `tables`, a missing or empty database gets the whole schema, the rows of those tables, and
    every foreign key between complete tables. A database that is not empty gets only the rows,
    into existing tables, which must be empty unless `overwrite` is set. With `data_only` any
    database gets only rows.
    """

    def __init__(
        self, context: RestoreContext, *, login: Login, tool_folders: Sequence[Path] = ()
    ) -> None:
        self.context = context
        self.login = login
        self.tool_folders = tool_folders
        self.definitions = DefinitionParts(context=context)

    @property
    def request(self) -> RestoreRequest:
        return self.context.request

    @property
    @abstractmethod
    def way(self) -> Way:
        """Which options this restore obeys."""

    @property
    @abstractmethod
    def way_of_rows(self) -> Way:
        """Which options `bring_rows` obeys."""

    @abstractmethod
    def require_possible(self) -> None:
        """Refuse what this backup cannot restore, before anything is dropped or half filled."""

    @abstractmethod
    def bring(self, login: Login) -> Brought:
        """Restore definitions and rows into the empty, otherwise unused database of `login`."""

    @abstractmethod
    def bring_rows(self) -> Restored:
        """Restore rows into existing tables with their constraints and triggers: all or none."""

    def run(self) -> Restored:
        """Raises what `ports.target.Target.restore` raises."""
        request = self.request
        request.require_obeyed(self.way, into=self.login.described)
        self.require_possible()
        creation = selection.creation_options(request)
        with connected(self.login, beside=self.login.database) as (server, maintenance):
            self._require_version(server)
            if request.options.data_only or (request.tables and content(server, self.login)):
                request.require_obeyed(self.way_of_rows, into=self.login.described)
                # First, although rows need no role: rows that are there would refuse a second try.
                self.definitions.restore_globals(server, maintenance)
                return self.bring_rows()
            with staged(
                server,
                self.login,
                creation,
                overwrite=request.options.overwrite,
                before=lambda: self.definitions.restore_globals(server, maintenance),
            ) as login:
                return self._everything(login)

    def _everything(self, login: Login) -> Restored:
        """Restore into an empty database.

        Its owner, settings and grants come last, because they may lock even us out. They are first
        tried in a transaction that is rolled back.
        """
        # Nobody else uses a new database: every lock wait is for one of our own sessions.
        hasty, request = login.hasty.patient, self.request
        if not request.options.keep_going:
            self.definitions.rehearse(PartKind.GRANTS, hasty)
        brought = self.bring(hasty)
        with hasty.session() as session:
            differences = selection.differences(session, request)
        unanalyzed = analyze(hasty, workers=request.workers)
        self.definitions.carry_out(PartKind.GRANTS, hasty)
        failed = self._tried_again(hasty)
        make_durable(login)
        return Restored(
            tables=brought.tables,
            failed=(*brought.unloaded, *failed),
            preamble=PREAMBLE,
            notes=(*brought.notes, *differences, *unanalyzed),
        )

    def _tried_again(self, login: Login) -> tuple[FailedObject, ...]:
        failed = self.context.failed.take()
        if not failed:
            return ()
        with login.session() as session:
            return definitions.tried_again(session, failed, path=self.definitions.usual_path())

    def _require_version(self, server: Cluster) -> None:
        made_by = selection.server_version(self.request) // 10000
        if made_by > server.major:
            raise Unsupported(
                f"cannot restore into {self.login.described}: it runs version {server.version},"
                f" the backup was made by version {made_by}",
                hint=f"restore into a server of version {made_by} or later",
            )
