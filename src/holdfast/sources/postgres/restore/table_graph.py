"""The rows of new tables and what is built on them: each index once the rows of its table are in.

So no session waits for the rows of other tables, and the largest indexes are begun first. What may
call functions waits for all rows and constraints: a function may read any table.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache

import psycopg

from holdfast.model.backup import PartKind, Relation
from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.target import RestoreRequest
from holdfast.sources.postgres.restore import selection
from holdfast.sources.postgres.restore.definition_parts import Builders
from holdfast.sources.postgres.restore.load import Batch, Loader
from holdfast.sources.postgres.restore.session_pool import SessionPool
from holdfast.sources.postgres.restore.steps import Work
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.table_part import TablePart

Key = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One batch of rows, or one piece of work on tables; begun when all that it `needs` is done."""

    key: Key
    needs: frozenset[Key]
    batch: Batch | None = None
    work: Work | None = None


def tasks(request: RestoreRequest, batches: Sequence[Batch], works: Sequence[Work]) -> list[Task]:
    """All rows and all work, in the order in which idle sessions should choose from them.

    Work comes first, that on the largest tables before others: what is ready takes longest, and a
    session finds the tables that it has just filled in its caches.
    """

    @cache
    def needs(works: frozenset[int], rows: frozenset[Key]) -> frozenset[Key]:
        return rows.union(map(_of_work, works))

    writers = _Writers(request, batches)
    sizes = selection.table_sizes(request)
    building = [
        Task(
            key=_of_work(work.number),
            needs=needs(work.needs, writers.before(work)),
            work=work,
        )
        for work in sorted(works, key=lambda work: -sum(sizes[table] for table in work.tables))
    ]
    loading = [
        Task(key=_of_rows(number), needs=frozenset(), batch=batch)
        for number, batch in enumerate(batches)
    ]
    return building + loading


class _Writers:
    """Which batches fill a table, or lock it while they fill its partitions."""

    def __init__(self, request: RestoreRequest, batches: Sequence[Batch]) -> None:
        self._every = frozenset(_of_rows(number) for number in range(len(batches)))
        self._of_table: defaultdict[Relation, set[Key]] = defaultdict(set)
        self._routed: set[Key] = set()
        for number, batch in enumerate(batches):
            for piece in selection.pieces(batch.parts):
                for relation in piece.relations:
                    self._of_table[relation].add(_of_rows(number))
                if TablePart.of(piece).load_through:
                    self._routed.add(_of_rows(number))
        self._direct = {
            piece.relation
            for piece in selection.pieces(selection.of_kind(request.parts, PartKind.DATA))
            if not TablePart.of(piece).load_through
        }

    def before(self, work: Work) -> frozenset[Key]:
        if work.calls_functions:
            return self._every
        found = set[Key]()
        for table in work.tables:
            found |= self._of_table.get(table, set())
            if table not in self._direct:
                # The server chooses the partition of a routed row, which may be this table.
                found |= self._routed
        return frozenset(found)


def _of_rows(number: int) -> Key:
    return "rows", number


def _of_work(number: int) -> Key:
    return "work", number


def carry_out(
    login: Login,
    loader: Loader,
    builders: Builders,
    *,
    request: RestoreRequest,
    works: Sequence[Work],
) -> list[Work]:
    """Load all rows and do the work; returns the work that waits for rows that failed.

    The first error ends all sessions. Raises `RestoreFailed`.
    """
    postponed = Postponed()

    def do(session: psycopg.Connection, task: Task) -> None:
        if task.batch is not None:
            loader.load(session, task.batch)
        elif task.work is not None and not postponed.takes(task.work, lacking=loader.lacking()):
            builders.do(session, task.work)

    pool: SessionPool[Task] = SessionPool(
        login,
        do,
        cancellation=loader.cancellation,
        prepare=builders.prepare,
        known_by=lambda task: task.key,
        needs=lambda task: task.needs,
    )
    pool.run(tasks(request, loader.batches(), works), workers=request.workers)
    return postponed.works


class Postponed:
    """Work on tables some of whose rows could not be loaded, and all that needs such work.

    Those rows are tried again first: a key that exists already would refuse them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: set[int] = set()
        self.works: list[Work] = []

    def takes(self, work: Work, *, lacking: Collection[Relation]) -> bool:
        """Keep `work` for later if it must wait for the rows of a table in `lacking`."""
        with self._lock:
            is_late = not self._numbers.isdisjoint(work.needs)
            if lacking and (work.calls_functions or not work.tables.isdisjoint(lacking)):
                is_late = True
            if is_late:
                # What else it needs is done, and is not among the work for later.
                self.works.append(replace(work, needs=work.needs & self._numbers))
                self._numbers.add(work.number)
            return is_late
