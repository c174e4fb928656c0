"""Waiting ends with success, with the last reason, or at once."""

import pytest

from lab.errors import CommandFailed, LabError
from lab.waiting import wait_until


def test_waiting_ends_with_the_first_success() -> None:
    answers = iter([CommandFailed("not yet"), CommandFailed("not yet"), None])

    def look() -> None:
        if answer := next(answers):
            raise answer

    wait_until(look, deadline_seconds=60)
    assert list(answers) == []


def test_the_deadline_tells_the_last_reason() -> None:
    def look() -> None:
        raise CommandFailed("systemd is 'starting'")

    with pytest.raises(LabError, match=r"^systemd is 'starting' \(waited 0 s\)$"):
        wait_until(look, deadline_seconds=0)


def test_what_cannot_get_well_is_not_waited_for() -> None:
    looks = []

    def look() -> None:
        looks.append("once")
        raise LabError("failed units: postgresql.service")

    with pytest.raises(LabError, match=r"^failed units: postgresql.service$"):
        wait_until(look, deadline_seconds=60)
    assert looks == ["once"]
