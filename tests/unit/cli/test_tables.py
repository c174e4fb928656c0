"""Tables and facts fit the width of the terminal."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from holdfast.cli.tables import Table, facts_in, key, number, time_of, words


def test_times_are_shown_in_utc() -> None:
    zone = timezone(timedelta(hours=2))
    assert time_of(datetime(2026, 11, 20, 4, 0, tzinfo=zone)) == "2026-11-20 02:00:00Z"


def test_the_column_that_tells_least_is_dropped_first_and_named() -> None:
    columns = (key("BACKUP"), number("ROWS", drop=2), number("SIZE", drop=1), words("STATE"))
    table = Table(columns, [("shop/2026", "769", "48.0 MiB", "good")])
    assert table.fitted(80)[1] == []
    fitted, hidden = table.fitted(26)
    assert ([each.title for each in fitted.columns], hidden) == (
        ["BACKUP", "SIZE", "STATE"],
        ["ROWS"],
    )
    # Columns without a priority stay, however narrow the terminal is.
    fitted, hidden = table.fitted(5)
    assert ([each.title for each in fitted.columns], hidden) == (
        ["BACKUP", "STATE"],
        ["ROWS", "SIZE"],
    )


def test_a_column_with_nothing_in_it_is_not_shown_and_not_missed() -> None:
    table = Table((key("TABLE"), words("CONTENT")), [("orders", ""), ("events", "")])
    fitted, hidden = table.fitted(80)
    assert ([each.title for each in fitted.columns], hidden) == (["TABLE"], [])


def test_a_long_fact_continues_below_its_beginning_on_a_terminal_only() -> None:
    facts = [("note", "one two three four five six"), ("a longer name", "seven")]
    assert facts_in(facts, None) == [
        "note           one two three four five six",
        "a longer name  seven",
    ]
    assert facts_in(facts, 30) == [
        "note           one two three",
        "               four five six",
        "a longer name  seven",
    ]


def test_a_key_out_of_a_manifest_neither_steers_the_terminal_nor_widens_what_is_below() -> None:
    facts = [("pg\x1b[2J\nverified", "17"), ("x" * 1000, "long"), ("zstd", "1.5")]
    first, second, third = facts_in(facts, None)
    assert first == r"pg\x1b[2J\nverified  17"
    assert second.endswith("x  long")
    assert third == f"{'zstd':{first.index('17')}}1.5"
