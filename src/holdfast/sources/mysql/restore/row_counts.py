"""Tables after a restore: how many rows they have, and what their content sums up to."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from holdfast.model.backup import Relation
from holdfast.model.checksums import Expected
from holdfast.model.errors import RestoreFailed
from holdfast.model.restored import RestoredTable
from holdfast.sources.mysql.server import content_checksum
from holdfast.sources.mysql.server.address import Address
from holdfast.sources.mysql.server.failures import StatementFailed
from holdfast.sources.mysql.server.names import select
from holdfast.sources.mysql.server.session import Session, session
from holdfast.sources.mysql.server.tables import Table, read_tables


class RowCounts:
    """Asks the server about every table of `wanted`, with several sessions."""

    def __init__(self, address: Address, wanted: Mapping[Relation, Expected]) -> None:
        self._address = address
        self._wanted = wanted
        self._waiting: queue.SimpleQueue[Relation] = queue.SimpleQueue()

    def found(self, *, workers: int) -> list[RestoredTable]:
        """What is there, by name; raises `RestoreFailed` for a table that cannot be read."""
        for relation in self._wanted:
            self._waiting.put(relation)
        count = max(1, min(workers, len(self._wanted)))
        with ThreadPoolExecutor(max_workers=count) as pool:
            asking = [pool.submit(self._ask) for _ in range(count)]
        found = [table for each in asking for table in each.result()]
        return sorted(found, key=lambda table: str(table.relation))

    def _ask(self) -> list[RestoredTable]:
        found: list[RestoredTable] = []
        with session(self._address) as asking:
            tables = {
                each.relation.name: each for each in read_tables(asking, self._address.database)
            }
            while True:
                try:
                    relation = self._waiting.get_nowait()
                except queue.Empty:
                    return found
                found.append(_found(asking, relation, self._wanted[relation], tables))


def _found(
    asking: Session, relation: Relation, wanted: Expected, tables: Mapping[str, Table]
) -> RestoredTable:
    table = tables.get(relation.name)
    if table is None:
        raise RestoreFailed(f"cannot restore table '{relation}': the server does not have it")
    # Of a method that a later version may have there is nothing to compare.
    method = wanted.checksum.partition(":")[0]
    is_summed = method in content_checksum.METHODS
    question = (
        content_checksum.question(table, method)
        if is_summed
        else select("COUNT(*),0", relation.name)
    )
    try:
        rows, warnings = asking.fetch(question)
    except StatementFailed as error:
        raise RestoreFailed(f"cannot count table '{relation}': {error.message}") from error
    if warnings:
        raise RestoreFailed(
            f"cannot prove table '{relation}': {content_checksum.TOO_SMALL}",
            hint=content_checksum.LARGER,
        )
    count, total = content_checksum.counted(rows)
    return RestoredTable(
        relation=relation,
        rows_expected=wanted.rows,
        rows_found=count,
        checksum_expected=wanted.checksum if is_summed else "",
        checksum_found=f"{method}:{total}" if is_summed else "",
    )
