from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.model.backup import Part, Relation
from holdfast.sources.postgres.restore.load import Batch, batches
from holdfast.sources.postgres.server.table_part import Pages, TablePart
from tests.support.kept_parts import kept


def part(name: str, plain_bytes: int, *, first: int | None = None, condition: str = "") -> Part:
    """A table, or its range from page `first` on."""
    table = TablePart(
        relation=Relation(schema="public", name=name),
        columns=("id",),
        encoding="UTF8",
        condition=condition,
        pages=None if first is None else Pages(first=first, after=None),
    )
    stored = kept(table, name=f"data/{name}-{first or 0}.copy")
    return replace(stored, plain_bytes=plain_bytes)


def told(found: list[Batch]) -> list[tuple[list[str], bool]]:
    return [([each.name for each in batch.parts], batch.freeze) for batch in found]


RANGES = (part("big", 300, first=0), part("big", 300, first=9))


def test_a_session_loads_all_ranges_of_a_table_frozen_while_others_have_as_much_to_do() -> None:
    parts = (part("other", 500), *RANGES)
    assert told(batches(parts, workers=2)) == [
        (["data/big-0.copy", "data/big-9.copy"], True),
        (["data/other-0.copy"], True),
    ]


@pytest.mark.parametrize(
    ("rest", "workers", "keep_going"),
    [
        pytest.param((), 2, False, id="the only table"),
        pytest.param((part("other", 500),), 4, False, id="more workers than tables"),
        pytest.param((part("other", 500),), 2, True, id="a failed range is to be left out"),
    ],
)
def test_ranges_of_a_table_are_loaded_side_by_side(
    rest: tuple[Part, ...], workers: int, keep_going: bool
) -> None:
    found = told(batches((*RANGES, *rest), workers=workers, keep_going=keep_going))
    assert (["data/big-0.copy"], False) in found
    assert (["data/big-9.copy"], False) in found


def test_a_table_that_may_hold_other_rows_is_never_emptied() -> None:
    (batch,) = batches([part("config", 10, condition="WHERE own")], workers=1)
    assert not batch.freeze
