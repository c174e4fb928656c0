"""Values from outside against annotated types: nothing is guessed, each fault has its place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

import pytest
from hypothesis import given, strategies as st

from holdfast.model.checked import Before, Length, Range, Refused
from holdfast.model.forms import form_of
from holdfast.model.stored_json import MANIFEST, Unreadable, parsed, plain, typed
from holdfast.model.values import Count, Line, Moment

AT = datetime(2026, 11, 30, 2, 0, 0, 500, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    name: Line
    rows: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    taken: Moment
    tables: Annotated[tuple[Table, ...], Length(at_most=3)] = ()
    sizes: dict[Line, Count] | None = None
    seconds: Annotated[float, Range(at_least=0)] = 0.0


GOOD: dict[str, Any] = {
    "taken": "2026-11-30T02:00:00.000500Z",
    "tables": [{"name": "a", "rows": 1}],
}


def places(kind: Any, value: object) -> list[tuple[object, ...]]:
    with pytest.raises(Refused) as refused:
        form_of(kind).check(value)
    return [each.place for each in refused.value.faults]


def test_what_is_written_is_read_again() -> None:
    found = typed(Backup, GOOD)
    assert found == Backup(taken=AT, tables=(Table(name="a", rows=1),))
    assert typed(Backup, plain(found)) == found


@pytest.mark.parametrize(
    "change",
    [
        {"taken": "2026-11-30T02:00:00"},
        {"taken": 1796004000},
        {"taken": "1796004000"},
        {"seconds": True},
        {"seconds": "1"},
        {"seconds": -0.1},
        {"seconds": float("nan")},
        {"seconds": 10**400},
        {"tables": {}},
        {"tables": "abc"},
        {"tables": [{"name": "a"}] * 4},
        {"tables": [{"name": "a", "rows": 1.0}]},
        {"tables": [{"name": "a", "rows": True}]},
        {"tables": [{"name": "a", "rows": 1 << 63}]},
        {"tables": [{"name": None}]},
        {"tables": [{}]},
        {"sizes": [["a", 1]]},
        {"sizes": {"a": "1"}},
    ],
    ids=str,
)
def test_a_value_of_another_kind_is_refused_and_never_converted(change: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        typed(Backup, GOOD | change)


@pytest.mark.parametrize(
    "text",
    [
        "2026-W49-1T02:00:00Z",
        "20261130T020000Z",
        "2026-11-30T02Z",
        "2026-11-30T02:00Z",
        "2026-11-30 02:00:00Z",
        "2026-11-30T02:00:00,5Z",
        "2026-11-30T02:00:00+05:30:15.5",
        "2026-11-30",
    ],
)
def test_a_time_is_read_only_as_it_is_written(text: str) -> None:
    """What else Python takes for a time depends on its version."""
    with pytest.raises(Unreadable, match="taken: input should be a valid time"):
        typed(Backup, GOOD | {"taken": text})


OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(at=st.datetimes(timezones=OFFSETS))
def test_every_time_that_is_written_is_read(at: datetime) -> None:
    form = form_of(datetime)
    assert form.check(form.plainly(at)) == at


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\udcff/tmp"])
def test_half_of_a_character_is_no_text(text: str) -> None:
    assert places(Table, {"name": text}) == [("name",)]
    assert places(dict[str, int], {text: 1}) == [(text,)]


def test_half_of_a_character_is_refused_also_where_names_of_files_are_read() -> None:
    value = parsed(r'{"name": "\ud800"}', MANIFEST, of_files=True)
    with pytest.raises(Unreadable, match="name: it holds an invalid character"):
        typed(Table, value)


def test_every_fault_is_told_with_its_place() -> None:
    value = {"tables": [{"name": 1}, {"rows": -1}], "sizes": {"a": -1, "b": "c"}, "seconds": "1"}
    assert places(Backup, value) == [
        ("taken",),
        ("tables", 0, "name"),
        ("tables", 1, "name"),
        ("tables", 1, "rows"),
        ("sizes", "a"),
        ("sizes", "b"),
        ("seconds",),
    ]


def test_a_wrong_key_does_not_hide_what_is_wrong_below_it() -> None:
    assert places(dict[Line, Count], {1: "x", "a": 2}) == [(1,), (1,)]


def test_a_check_before_the_type_may_meet_any_value() -> None:
    seen: list[object] = []
    form_of(Annotated[Any, Before(seen.append)]).check({"a": [1]})
    assert seen == [{"a": [1]}]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@given(value=ANYTHING | st.fixed_dictionaries({"taken": ANYTHING, "tables": st.lists(ANYTHING)}))
def test_whatever_is_given_is_accepted_or_unreadable(value: object) -> None:
    try:
        found = typed(Backup, value)
    except Unreadable:
        return
    assert typed(Backup, plain(found)) == found
