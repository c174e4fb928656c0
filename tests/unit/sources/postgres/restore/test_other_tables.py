from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from holdfast.model.backup import Relation
from holdfast.sources.postgres.restore.other_tables import ForeignKey, order

NAMES = "abcdef"


def table(name: str) -> Relation:
    return Relation(schema="public", name=name)


def key(edge: str) -> ForeignKey:
    """`ab` is a key of table a that refers to table b."""
    return ForeignKey(
        oid=1,
        name=edge,
        table=table(edge[0]),
        other=table(edge[1]),
        is_deferrable=False,
        tables=frozenset({table(edge[0])}),
        others=frozenset({table(edge[1])}),
    )


def ordered(names: str, *edges: str) -> tuple[str, list[str]]:
    found = order([table(name) for name in names], [key(edge) for edge in edges])
    return "".join(each.name for each in found.tables), [each.name for each in found.circular]


@pytest.mark.parametrize(
    ("names", "edges", "placed", "circular"),
    [
        ("ab", ["ab"], "ba", []),
        ("abc", ["ab", "bc", "ac"], "cba", []),
        ("a", ["aa"], "a", ["aa"]),
        ("ab", ["az", "zb"], "ab", []),
        ("abc", ["aa", "ba", "cb"], "abc", ["aa"]),
    ],
)
def test_tables_come_behind_those_that_they_refer_to(
    names: str, edges: list[str], placed: str, circular: list[str]
) -> None:
    assert ordered(names, *edges) == (placed, circular)


@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).map("".join),
        max_size=20,
        unique=True,
    )
)
def test_every_key_is_obeyed_by_the_order_or_waits(edges: list[str]) -> None:
    placed, circular = ordered(NAMES, *edges)
    assert sorted(placed) == sorted(NAMES)
    for edge in edges:
        assert edge in circular or placed.index(edge[1]) < placed.index(edge[0])


def test_of_a_circle_one_key_waits_and_not_what_hangs_on_it() -> None:
    _, circular = ordered("abcd", "ab", "bc", "ca", "da")
    assert len(circular) == 1
    assert circular[0] in ("ab", "bc", "ca")
