"""One restore under way: the parts in the order that their kinds demand.

Whoever opens the parts counts their bytes; we only say which parts are done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import psycopg

from holdfast.model import Part, PartKind
from holdfast.ports import OpenPart, Progress, RestoredTable, RestoreRequest
from holdfast.sources.postgres_native import failures, script, selection, statements
from holdfast.sources.postgres_native.cluster import Cluster
from holdfast.sources.postgres_native.load import Before, Loader
from holdfast.sources.postgres_native.login import Login
from holdfast.sources.postgres_native.tools import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """What every step needs; `login` leads to the database that is filled."""

    request: RestoreRequest
    open_part: OpenPart
    progress: Progress
    psql: Tool
    login: Login

    def into(self, login: Login) -> Restore:
        return replace(self, login=login)

    def everything(self, server: Cluster, maintenance: Login) -> list[RestoredTable]:
        """Constraints, indexes and triggers come after the rows, so no order of tables matters."""
        data = selection.data_parts(self.request)
        if self.request.globals:
            self._globals(server, maintenance)
        self._rehearse(PartKind.GRANTS)
        self._scripts(PartKind.PRE_DATA)
        tables = self._load(data, before=Before.TRUNCATE)
        self._scripts(PartKind.SEQUENCES)
        self._scripts(PartKind.LARGE_OBJECTS)
        if self.request.tables:
            self._post_data_for(data)
        else:
            self._scripts(PartKind.POST_DATA)
        self._analyze()
        self._scripts(PartKind.GRANTS)
        return tables

    def rows_only(self) -> list[RestoredTable]:
        """Into tables that stand already, with whatever constraints and triggers they have."""
        data = selection.data_parts(self.request)
        before = Before.DELETE if self.request.overwrite else Before.NOTHING
        return self._load(data, before=before)

    def _load(self, data: list[Part], *, before: Before) -> list[RestoredTable]:
        loader = Loader(self._hasty, self.open_part, self.progress, before=before)
        return loader.load(data, workers=self.request.workers)

    def _scripts(self, kind: PartKind) -> None:
        for part in selection.of_kind(self.request.parts, kind):
            with self.open_part(part) as chunks:
                script.run(self.psql, self._hasty, chunks)
            self.progress.part_done(part.name)

    def _rehearse(self, kind: PartKind) -> None:
        """What runs last must not be the first to say, hours later, that a role is missing."""
        for part in selection.of_kind(self.request.parts, kind):
            with self.open_part(part) as chunks:
                script.run(self.psql, self._hasty, [b"BEGIN;\n", *chunks, b"ROLLBACK;\n"])

    def _globals(self, server: Cluster, maintenance: Login) -> None:
        roles, tablespaces = server.existing_roles(), server.existing_tablespaces()
        for part in selection.of_kind(self.request.parts, PartKind.GLOBALS):
            text = statements.without_existing(
                self._text(part), roles=roles, tablespaces=tablespaces
            )
            script.run(self.psql, maintenance, [_bytes(text)])
            self.progress.part_done(part.name)

    def _post_data_for(self, data: list[Part]) -> None:
        """A foreign key to a table without its rows could not be made."""
        filled = selection.filled_relations(self.request, data)
        for part in selection.of_kind(self.request.parts, PartKind.POST_DATA):
            text = statements.without_foreign_keys(
                self._text(part), unless=lambda table, other: {table, other} <= filled
            )
            script.run(self.psql, self._hasty, [_bytes(text)])
            self.progress.part_done(part.name)

    def _analyze(self) -> None:
        """Its commit is durable, and with it everything before it."""
        with self.login.session() as connection:
            try:
                connection.execute("ANALYZE")
            except psycopg.Error as error:
                subject = f"statistics of database '{self.login.database}'"
                raise failures.restoring(failures.said(error), subject) from error

    @property
    def _hasty(self) -> Login:
        """No wait for the disk at every commit: a crash leaves an incomplete database anyway."""
        options = f"{self.login.settings.get('options', '')} -c synchronous_commit=off"
        return self.login.with_settings(options=options.strip())

    def _text(self, part: Part) -> str:
        # What is no UTF-8 comes out again as it went in; only names that we compare suffer.
        with self.open_part(part) as chunks:
            whole = b"".join(chunks)
        return whole.decode("utf-8", errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")
