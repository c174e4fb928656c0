"""A database while it is being dumped: its parts, and the pipes that they come through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from holdfast.model.backup import Consistency, PartKind, PartPlan, Server
from holdfast.ports.source import PartStream
from holdfast.sources.mysql.dump import policy
from holdfast.sources.mysql.dump.ddl_check import DumpDdlCheck
from holdfast.sources.mysql.dump.dump_command import DumpCommand
from holdfast.sources.mysql.dump.part_plan import Dumped
from holdfast.sources.mysql.dump.pipe import Pipes
from holdfast.sources.mysql.rows.streams import TextStream
from holdfast.sources.mysql.server.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpSnapshot:
    """Obeys `ports.source.Snapshot`, though each dump opens a moment of its own; see
    `consistency`."""

    server: Server
    consistency: Consistency
    taken_at: datetime
    proof: dict[str, str]
    tools: dict[str, str]
    contents: Dumped
    command: DumpCommand
    pipes: Pipes
    witness: DumpDdlCheck
    history: bool
    without_rows: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> Sequence[PartPlan]:
        return self.contents.plans

    @contextmanager
    def read(self, part: PartPlan) -> Iterator[PartStream]:
        text = self.contents.texts.get(part.name)
        if text is not None:
            yield TextStream(text)
        elif part.kind is PartKind.ARCHIVE:
            with self._whole() as stream:
                yield stream
        else:
            with self._rows_of(self.contents.tables[part.name]) as stream:
                yield stream

    def abort(self) -> None:
        self.pipes.endings.abort()

    @contextmanager
    def _whole(self) -> Iterator[PartStream]:
        def argv(login: int) -> list[str]:
            return self.command.whole(
                login=login, history=self.history, without_rows=self.without_rows
            )

        with self.pipes.dumping(argv, f"database '{self.command.database}'") as stream:
            yield stream

    @contextmanager
    def _rows_of(self, table: Table) -> Iterator[PartStream]:
        def argv(login: int) -> list[str]:
            return self.command.rows_of(
                table.relation.name,
                login=login,
                transactional=policy.transactional(table),
                history=policy.versioned(table),
            )

        def unaltered() -> None:
            self.witness.require_unaltered(table)

        with self.pipes.dumping(argv, f"table '{table.relation}'", done=unaltered) as stream:
            yield stream
