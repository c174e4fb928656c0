"""The next start of a job by systemd, from a stand-in for `systemctl`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.host_state.timers import is_waiting, next_by_calendar, next_run


def make_program(path: Path, *, asked: str, answer: str) -> None:
    """A program of systemd that answers if its arguments pass the test `asked`."""
    path.write_text(f"#!/bin/sh\n{asked} || exit 9\n{answer}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("program", "moment"),
    [
        # As systemd 252 and 257 print it.
        (
            """echo '[{"next":1795140000723740,"left":1795140000723740,"last":null,"unit":"u"}]'""",
            datetime(2026, 11, 20, 2, 0, tzinfo=UTC),
        ),
        ("""echo '[{"next":null,"unit":"u"}]'""", None),
        # The role's timer has no next time, an instance of the package's has one.
        (
            """echo '[{"next":null,"unit":"u"},{"next":1795140000723740,"unit":"v"}]'""",
            datetime(2026, 11, 20, 2, 0, tzinfo=UTC),
        ),
        ("echo '[]'", None),
        ("echo", None),
        ("exit 1", None),
        (None, None),
    ],
)
def test_the_answer_is_a_time_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, moment: datetime | None
) -> None:
    if program is not None:
        asked = '[ "$3" = "holdfast-backup-shop.timer" ]'
        make_program(tmp_path / "systemctl", asked=asked, answer=program)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert next_run("shop") == moment


# As systemd 252 prints it on a host in Berlin.
BERLIN = """\
    Next elapse: Mon 2025-12-01 02:00:00 CET
       (in UTC): Mon 2025-12-01 01:00:00 UTC
       From now: 11 months 29 days ago
"""


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        (BERLIN, datetime(2025, 12, 1, 1, tzinfo=UTC)),
        (
            "    Next elapse: Mon 2025-12-01 02:00:00 UTC\n",
            datetime(2025, 12, 1, 2, tzinfo=UTC),
        ),
        ("    Next elapse: never\n", None),
        ("", None),
        (None, None),
    ],
)
def test_the_next_time_of_a_calendar_is_counted_from_a_given_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None, moment: datetime | None
) -> None:
    if said is not None:
        asked = '[ "$3 $5" = "--base-time=@1764500000 Mon..Fri 02:00" ]'
        make_program(tmp_path / "systemd-analyze", asked=asked, answer=f"echo '{said}'")
    monkeypatch.setenv("PATH", str(tmp_path))
    since = datetime.fromtimestamp(1764500000, UTC)
    assert next_by_calendar("Mon..Fri 02:00", since=since) == moment


@pytest.mark.parametrize(
    ("program", "waiting"),
    [
        ("echo active", True),
        ("echo inactive", False),
        ("echo failed", False),
        ("echo activating", None),
        ("exit 1", None),
        # Of the Debian package: one of the two names is unknown, and so inactive.
        ("printf 'inactive\\n\\nactive\\n'", True),
        ("printf 'inactive\\n\\nfailed\\n'", False),
    ],
)
def test_a_timer_waits_or_does_not_or_nobody_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, waiting: bool | None
) -> None:
    asked = '[ "$4 $5" = "holdfast-backup-my-shop.timer holdfast-backup@my-shop.timer" ]'
    make_program(tmp_path / "systemctl", asked=asked, answer=program)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert is_waiting("holdfast-backup-my-shop") is waiting
