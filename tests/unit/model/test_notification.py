"""Who is told what is decided without any I/O."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from holdfast.model.notification import Event, Rule, Topic, told_safely

FAILED = Event(
    id="1",
    topic=Topic.FAILURE,
    command="backup",
    job="shop",
    host="db1",
    at=datetime(2026, 11, 30, 2, tzinfo=UTC),
    exit_code=20,
    error="cannot reach 'shop'",
    in_a_row=1,
)
MAIL = Rule(receiver="mail", on=frozenset({Topic.FAILURE}))


@pytest.mark.parametrize(
    ("on", "event", "wanted"),
    [
        ({Topic.FAILURE}, FAILED, True),
        ({Topic.SUCCESS}, FAILED, False),
        ({Topic.FAILURE}, replace(FAILED, command="drill"), True),
        ({Topic.DRILL}, replace(FAILED, command="drill"), True),
        ({Topic.DRILL}, replace(FAILED, command="drill", topic=Topic.SUCCESS), True),
        ({Topic.DRILL}, replace(FAILED, command="drill", topic=Topic.START), False),
        ({Topic.DRILL}, FAILED, False),
        ({Topic.SUCCESS}, replace(FAILED, command="drill", topic=Topic.SUCCESS), True),
        ({Topic.OVERDUE}, replace(FAILED, topic=Topic.OVERDUE), True),
    ],
)
def test_a_receiver_is_told_what_it_asked_for(
    on: set[Topic], event: Event, *, wanted: bool
) -> None:
    assert Rule(receiver="mail", on=frozenset(on)).wants(event) is wanted


def test_commands_limit_starts_and_ends_but_not_drills_that_were_asked_for() -> None:
    rule = Rule(
        receiver="watch",
        on=frozenset({Topic.FAILURE, Topic.DRILL}),
        commands=frozenset({"backup"}),
    )
    assert rule.wants(FAILED)
    assert not rule.wants(replace(FAILED, command="prune"))
    assert rule.wants(replace(FAILED, command="drill", topic=Topic.SUCCESS))


@pytest.mark.parametrize(
    ("after", "told"), [(1, [1, 2, 3, 4, 5]), (3, [3, 4, 5]), (5, [5]), (6, [])]
)
def test_failures_are_told_from_the_nth_in_a_row(after: int, told: list[int]) -> None:
    rule = replace(MAIL, after=after)
    counts = range(1, 6)
    assert [each for each in counts if rule.wants(replace(FAILED, in_a_row=each))] == told


def test_a_stream_that_is_started_again_and_again_is_told_ever_more_rarely() -> None:
    failed = replace(FAILED, command="wal receive")
    counts = range(1, 40)
    assert [each for each in counts if MAIL.wants(replace(failed, in_a_row=each))] == [
        *(1, 2, 4, 8, 16, 32)
    ]


def test_an_unknown_number_of_failures_is_told_rather_than_not() -> None:
    assert replace(MAIL, after=9).wants(replace(FAILED, in_a_row=0))


def test_the_log_is_for_those_who_are_given_it() -> None:
    event = replace(FAILED, log=("info: backup_begun",))
    assert MAIL.addressed(event).log == ()
    assert replace(MAIL, include_log=True).addressed(event).log == event.log


def test_people_read_what_failed_where_and_why() -> None:
    event = replace(FAILED, in_a_row=3, hint="start it", seconds=2.5)
    assert event.text.splitlines() == [
        "holdfast: backup of 'shop' failed on db1",
        "",
        "error: cannot reach 'shop'",
        "hint: start it",
        "exit code: 20",
        "3 failures in a row",
        "seconds: 2.5",
        "at: 2026-11-30T02:00:00+00:00",
    ]
    assert replace(event, is_test=True).title.startswith("[test] ")


def test_every_text_of_an_event_is_made_safe_and_bounded() -> None:
    row = "Duplicate entry 'hunter2' for key 'a'"
    event = told_safely(
        replace(
            FAILED,
            error=row,
            hint=row,
            warnings=(row,) * 99,
            log=(row,) * 99,
            backups=("shop/1",) * 999,
        )
    )
    assert "hunter2" not in repr(event)
    assert (len(event.warnings), len(event.log), len(event.backups)) == (20, 50, 100)
