"""Which jobs of a fleet need attention, and why, the worst first."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from holdfast.model.errors import RepositoryFull
from holdfast.model.fleet import Allowed, Row, State, Told, expected_in, rows_of, same_host
from holdfast.model.host_status import (
    HISTORY_DAYS,
    Day,
    Happened,
    HostStatus,
    after,
    host_key,
    is_host,
)
from holdfast.model.stored_json import Unreadable
from holdfast.model.tuning_verdict import TuningVerdict
from holdfast.model.values import MOST
from tests.support.fleets import (
    NEXT,
    NIGHT,
    NOW,
    act,
    due,
    good_backup,
    good_drill,
    status_of,
)

LATE = NOW + timedelta(days=1)
NOBODY = Allowed()


def told(status: HostStatus, *, repository: str = "main", problem: str = "") -> Told:
    return Told(
        job=status.job,
        host=status.host,
        status=status,
        repositories=(repository,),
        problem=problem,
    )


def judged(status: HostStatus, *, late: bool = False, allowed: Allowed = NOBODY) -> Row:
    (row,) = rows_of([told(status)], allowed=allowed, now=LATE if late else NOW)
    return row


FULL = act("backup", "failed", exit_code=RepositoryFull.exit_code, error="no space left")


@pytest.mark.parametrize(
    ("changes", "state", "why"),
    [
        ({}, State.OK, ""),
        ({"acts": (act("backup", "warning"),)}, State.OK, ""),
        (
            {"acts": (act("backup", "failed", exit_code=20, error="no server"),)},
            State.FAILED,
            "its last backup failed: no server",
        ),
        ({"acts": (FULL,)}, State.FULL, "its last backup failed: no space left"),
        ({"free_bytes": 1000}, State.FULL, "1000 B are free, and the last backup took 1.0 MiB"),
        ({"free_bytes": None}, State.OK, ""),
        (
            {"acts": (act(), act("verify", "failed", exit_code=31, error="1 part bad"))},
            State.DAMAGED,
            "its last verify failed: 1 part bad",
        ),
        (
            {"acts": (act(), act("verify", "failed", exit_code=50))},
            State.FAILED,
            "its last verify failed: exit code 50",
        ),
        (
            {"acts": (act(), act("drill", "failed", exit_code=37, error="rows differ"))},
            State.FAILED,
            "its last drill failed: rows differ",
        ),
        (
            {"dues": (due(timer=False),)},
            State.STOPPED,
            "its backup has a schedule, and its timer does not run",
        ),
        ({"dues": (due(timer=None),)}, State.OK, ""),
        ({"dues": ()}, State.OK, ""),
        (
            {"overdue_seconds": 3600},
            State.OVERDUE,
            "its newest backup is older than overdue_after allows",
        ),
        ({"overdue_seconds": 3600, "newest": None}, State.OVERDUE, "it has no good backup"),
        (
            {"at": NOW + timedelta(hours=1)},
            State.UNTRUSTED,
            "its status is from the future (2026-11-30 13:00Z): its clock is wrong",
        ),
        ({"at": NOW + timedelta(minutes=5)}, State.OK, ""),
        (
            {"newest": good_backup(at=NOW + timedelta(days=365))},
            State.UNTRUSTED,
            "its newest backup is from the future (2027-11-30 12:00Z): its clock is wrong",
        ),
        (
            {"drilled": good_drill(at=NOW + timedelta(days=365))},
            State.UNTRUSTED,
            "its newest drill is from the future (2027-11-30 12:02Z): its clock is wrong",
        ),
    ],
)
def test_a_status_is_judged(changes: dict[str, Any], state: State, why: str) -> None:
    row = judged(status_of(**changes))
    assert (row.state, row.why) == (state, why)


@pytest.mark.parametrize(
    ("outcome", "reasons", "state", "why"),
    [
        ("ok", (), State.OK, ""),
        (
            "pending",
            ("vdb: next boot", "vm: gone"),
            State.UNTUNED,
            "its last tuning (2026-11-30 02:00Z) left settings pending: vdb: next boot; vm: gone",
        ),
        ("failed", (), State.UNTUNED, "its last tuning (2026-11-30 02:00Z) failed"),
    ],
)
def test_a_host_whose_tuning_is_not_done_needs_attention(
    outcome: Any, reasons: tuple[str, ...], state: State, why: str
) -> None:
    tuning = TuningVerdict(at=NIGHT, outcome=outcome, counts={"ok": 40}, reasons=reasons)
    row = judged(status_of(tuning=tuning))
    assert (row.state, row.why) == (state, why)
    assert ("playbooks/audit.yml" in row.hint) is bool(why)


def test_a_host_is_silent_once_its_own_schedule_promised_more() -> None:
    row = judged(status_of(), late=True)
    assert row.state is State.SILENT
    assert row.why == (
        "its backup was due at 2026-12-01 02:00Z, and it has told nothing since 2026-11-30 02:05Z"
    )
    assert "list-timers --all holdfast-backup-shop.timer" in row.hint
    # Until the latest moment that a run may end it is not.
    (before,) = rows_of([told(status_of())], allowed=NOBODY, now=NEXT + timedelta(hours=3))
    assert before.state is State.OK


def test_a_weekly_job_is_not_silent_after_a_day() -> None:
    weekly = status_of(dues=(due(next_at=NIGHT + timedelta(days=7)),))
    assert judged(weekly, late=True).state is State.OK


def test_without_systemd_no_one_knows_who_is_silent_but_ages_count() -> None:
    unknown = status_of(dues=(due(next_at=None, timer=None),))
    assert judged(unknown, late=True).state is State.OK
    old = judged(unknown, late=True, allowed=Allowed(age=timedelta(hours=26)))
    assert (old.state, old.why) == (
        State.OVERDUE,
        "its newest backup is older than --max-age allows",
    )


def test_a_verify_that_goes_on_does_not_hide_a_masked_timer() -> None:
    awake = status_of(at=LATE, acts=(act(), act("verify", at=LATE)))
    row = judged(awake, late=True)
    assert row.state is State.OVERDUE
    assert row.why.endswith("and only other commands ran since")


@pytest.mark.parametrize(
    ("changes", "age", "state"),
    [
        ({"drilled": good_drill()}, 30, State.OK),
        ({"drilled": good_drill(at=NOW - timedelta(days=31))}, 30, State.UNDRILLED),
        ({}, 30, State.UNDRILLED),
        ({}, None, State.OK),
        ({"dues": (due(), due("drill", next_at=NIGHT - timedelta(days=2)))}, None, State.UNDRILLED),
        ({"dues": (due(), due("drill", timer=False))}, None, State.UNDRILLED),
        (
            {"dues": (due(), due("verify", next_at=NIGHT - timedelta(days=2)))},
            None,
            State.UNVERIFIED,
        ),
    ],
)
def test_a_drill_is_missed(changes: dict[str, Any], age: int | None, state: State) -> None:
    allowed = Allowed(drill_age=timedelta(days=age) if age else None)
    assert judged(status_of(**changes), allowed=allowed).state is state


def test_a_host_that_only_drills_is_told_with_the_host_that_backs_up() -> None:
    helper = status_of(
        "drills",
        newest=None,
        acts=(act("drill", "failed", at=NIGHT + timedelta(hours=3), error="rows differ"),),
        dues=(),
        drilled=good_drill(),
    )
    rows = rows_of([told(helper), told(status_of())], allowed=NOBODY, now=NOW)
    (row,) = rows
    assert (row.host, row.state, row.why) == (
        "db1",
        State.FAILED,
        "its last drill failed: rows differ",
    )
    assert row.status is not None
    assert row.status.drilled == good_drill()
    elsewhere = rows_of(
        [told(helper, repository="other"), told(status_of(job="crm"))], allowed=NOBODY, now=NOW
    )
    assert {each.host for each in elsewhere} == {"db1", "drills"}


def test_mirrors_count_as_one_and_the_newest_status_wins() -> None:
    newer = replace(status_of(), at=NOW, number=2)
    rows = rows_of(
        [told(newer, repository="main"), told(status_of(), repository="offsite")],
        allowed=NOBODY,
        now=NOW,
    )
    assert [(row.status, row.repositories) for row in rows] == [(newer, ("main", "offsite"))]


def test_a_status_that_cannot_be_trusted_is_the_worst_and_told() -> None:
    rows = rows_of(
        [
            told(status_of("db3", acts=(FULL,))),
            told(status_of("db2"), problem="it is not signed"),
            told(status_of("db1")),
        ],
        [("db4", "shop")],
        allowed=NOBODY,
        now=NOW,
    )
    assert [(row.host, row.state) for row in rows] == [
        ("db2", State.UNTRUSTED),
        ("db4", State.MISSING),
        ("db3", State.FULL),
        ("db1", State.OK),
    ]
    assert rows[0].why == "it is not signed"


@pytest.mark.parametrize(
    ("expected", "missing"),
    [
        ([("db1", "shop")], []),
        ([("db1.example.org", "shop")], []),
        ([("DB1", "")], []),
        ([("db1", "crm")], ["db1/crm"]),
        ([("db2", "")], ["db2/"]),
        ([("db11", "shop")], ["db11/shop"]),
    ],
)
def test_who_never_reported_is_listed(expected: list[tuple[str, str]], missing: list[str]) -> None:
    rows = rows_of([told(status_of())], expected, allowed=NOBODY, now=NOW)
    found = [f"{row.host}/{row.job}" for row in rows if row.state is State.MISSING]
    assert found == missing


def test_long_names_of_two_domains_are_two_hosts() -> None:
    assert same_host("db1", "db1.example.org")
    assert not same_host("db1.example.net", "db1.example.org")


@pytest.mark.parametrize(
    "name", ["db1", "db1.example.org", "-db1", ".db", "ü ber/..", "", "x" * 300]
)
def test_every_host_name_becomes_one_safe_step_of_a_key(name: str) -> None:
    assert is_host(host_key(name))
    assert "/" not in host_key(name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"schema": "holdfast.fleet/1", "hosts": {}}',
        b'{"schema": "holdfast.expected-hosts/1"}',
        b'{"schema": "holdfast.expected-hosts/1", "hosts": {"db1": "shop"}}',
    ],
)
def test_a_wrong_file_of_expected_hosts_is_refused(content: bytes) -> None:
    with pytest.raises(Unreadable):
        expected_in([content])


def test_expected_hosts_are_read() -> None:
    hosts = {"db1": ["shop", "crm"], "db2": []}
    content = json.dumps({"schema": "holdfast.expected-hosts/1", "hosts": hosts}).encode()
    assert expected_in([content]) == [("db1", "shop"), ("db1", "crm"), ("db2", "")]


def test_a_run_that_was_skipped_changes_no_result_and_counts_no_day() -> None:
    failed = status_of(acts=(act("backup", "failed", error="no server"),))
    skipped = Happened(act=act("backup", "skipped", at=NOW, exit_code=40))
    found = after(failed, skipped, now=NOW)
    assert (found.acts, found.days) == (failed.acts, failed.days)
    assert (found.number, found.at) == (2, NOW)


def test_a_failed_run_keeps_the_newest_good_backup_and_drill() -> None:
    before = status_of(drilled=good_drill())
    found = after(before, Happened(act=act("backup", "failed", at=NOW)), now=NOW)
    assert (found.newest, found.drilled) == (before.newest, before.drilled)
    (today,) = found.days
    assert (today.outcome, today.runs, today.failed) == ("failed", 2, 1)


def test_the_history_has_a_line_for_each_of_the_last_days_and_their_sums() -> None:
    status, night = status_of(days=()), NIGHT
    for _ in range(HISTORY_DAYS + 10):
        for hour in (2, 14):
            at = night.replace(hour=hour)
            made = [good_backup(at=at), good_backup(at=at)]
            status = after(status, Happened(act=act(at=at), backups=made), now=at)
        night += timedelta(days=1)
    assert len(status.days) == HISTORY_DAYS
    assert status.days[-1] == Day(
        day=f"{night - timedelta(days=1):%Y-%m-%d}",
        outcome="ok",
        runs=2,
        plain_bytes=16 << 20,
        stored_bytes=4 << 20,
        seconds=600.0,
    )
    assert [each.day for each in status.days] == sorted(each.day for each in status.days)
    assert status.databases == 2


def test_days_that_never_came_and_counts_at_their_end_spoil_no_history() -> None:
    days = (
        Day(day="2026-11-30", outcome="ok", runs=MOST, failed=MOST),
        *(Day(day=f"2031-01-{day:02}", outcome="ok") for day in range(1, HISTORY_DAYS)),
    )
    found = after(status_of(days=days), Happened(act=act("backup", "failed", at=NOW)), now=NOW)
    assert [(each.day, each.runs, each.failed) for each in found.days] == [
        ("2026-11-30", MOST, MOST)
    ]


def test_growth_is_against_the_median_of_the_days_before() -> None:
    sizes = [100, 0, 100, 100, 900, 150]
    days = tuple(
        Day(day=f"2026-11-{number + 1:02}", outcome="ok", stored_bytes=each)
        for number, each in enumerate(sizes)
    )
    assert judged(status_of(days=days)).growth == pytest.approx(0.5)
    assert judged(status_of(days=days[:1])).growth is None


def test_what_a_drill_measured_is_told() -> None:
    assert good_drill().lost_seconds == 3600
    assert replace(good_drill(), reached=None).lost_seconds is None


def test_three_thousand_jobs_are_judged_quickly_enough_to_be_linear() -> None:
    """Names are looked up, not compared with each other: 9 million comparisons take minutes."""
    fleet = [told(status_of(f"db{host}", f"job{host}")) for host in range(3000)]
    expected = [(f"db{host}.example.org", f"job{host}") for host in range(3001)]
    rows = rows_of(fleet, expected, allowed=NOBODY, now=NOW)
    assert [row.host for row in rows if row.why] == ["db3000.example.org"]
