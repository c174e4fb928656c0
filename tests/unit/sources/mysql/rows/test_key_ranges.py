from __future__ import annotations

import itertools
import sqlite3

from hypothesis import given, settings, strategies as st

from holdfast.model.backup import Relation
from holdfast.sources.mysql.rows.insert_text import Limits
from holdfast.sources.mysql.rows.key_ranges import Pace, Steps, between
from holdfast.sources.mysql.server.columns import Column
from holdfast.sources.mysql.server.tables import Key, Table

COLUMNS = tuple(Column(name=name, data_type="int", nullable=False) for name in "abc")
ROWS = list(itertools.product(range(3), repeat=3))
keys = st.sampled_from(ROWS)


# No deadline, as the load of the machine does not matter here.
@settings(deadline=None)
@given(first=keys, second=keys)
def test_ranges_follow_each_other_without_gap_or_overlap(
    first: tuple[int, int, int], second: tuple[int, int, int]
) -> None:
    low, high = sorted((first, second))
    bounds = [None, tuple(map(str, low)), tuple(map(str, high)), None]
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE t (a, b, c)")
        database.executemany("INSERT INTO t VALUES (?, ?, ?)", ROWS)
        found = [
            row
            for start, end in itertools.pairwise(bounds)
            for row in database.execute(
                f"SELECT * FROM t {between(COLUMNS, start, end)} ORDER BY a, b, c"
            )
        ]
    assert found == ROWS


@settings(deadline=None)
@given(first=st.integers(-3, 9), width=st.integers(0, 5))
def test_ranges_of_whole_numbers_are_one_comparison(first: int, width: int) -> None:
    start, end = (str(first),), (str(first + width),)
    where = between(COLUMNS[:1], start, end)
    assert where.startswith("WHERE `a` BETWEEN ")
    assert ">=" in between(COLUMNS[:1], start, None)
    assert "BETWEEN" not in between((Column(name="a", data_type="decimal"),), start, end)
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE t (a)")
        database.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(-5, 15)])
        found = [number for (number,) in database.execute(f"SELECT * FROM t {where} ORDER BY a")]
    assert found == list(range(first, first + width))


def table(*, row_bytes: int) -> Table:
    return Table(
        relation=Relation(schema="s", name="t"),
        kind="BASE TABLE",
        engine="InnoDB",
        columns=COLUMNS,
        key=Key(index="PRIMARY", columns=COLUMNS[:1]),
        rows=10,
        row_bytes=row_bytes,
        data_bytes=10 * row_bytes,
    )


LIMITS = Limits(statement_bytes=1000, longest_bytes=4000, piece_bytes=500)


def test_the_first_guess_comes_from_the_servers_own_estimate() -> None:
    assert Pace(table(row_bytes=50), LIMITS).rows == 10
    assert Pace(table(row_bytes=1_000_000), LIMITS).rows == 1


def test_the_pace_follows_what_rows_weigh_and_grows_slowly() -> None:
    pace = Pace(table(row_bytes=50), LIMITS)
    pace.learn(rows=10, size_bytes=2000)
    assert pace.rows == 5
    pace.learn(rows=5, size_bytes=5)
    assert pace.rows == 20


def test_a_range_that_was_cut_is_asked_for_in_halves_down_to_one_row() -> None:
    pace = Pace(table(row_bytes=50), LIMITS)
    pace.halve(9)
    assert pace.rows == 4
    pace.halve(1)
    assert pace.rows == 1


def test_steps_are_only_taken_where_the_last_range_had_few_gaps() -> None:
    steps = Steps(Key(index="PRIMARY", columns=COLUMNS[:1]))
    assert steps.after(("10",), 100) is None
    steps.learn(("10",), ("110",), 100)
    assert steps.after(("110",), 50) == ("160",)
    steps.learn(("110",), ("160",), 25)
    assert steps.after(("160",), 50) == ("260",)
    steps.learn(("160",), ("260",), 10)
    assert steps.after(("260",), 50) is None
    steps.learn(("260",), ("300",), 0)
    assert steps.after(("300",), 50) is None


def test_keys_that_are_no_single_number_are_always_asked_for() -> None:
    pair = Steps(Key(index="PRIMARY", columns=COLUMNS[:2]))
    pair.learn(("1", "1"), ("9", "9"), 8)
    assert pair.after(("9", "9"), 8) is None
    text = Steps(Key(index="PRIMARY", columns=(Column(name="a", data_type="varchar"),)))
    text.learn(("x'31'",), ("x'39'",), 8)
    assert text.after(("x'39'",), 8) is None
