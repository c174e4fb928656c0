"""Time that moves only on request, or by a fixed step per reading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 20, 2, 0, 0, tzinfo=UTC)


class FakeClock:
    """Obeys `ports.run.Clock`."""

    def __init__(self, now: datetime = START, *, step: timedelta = timedelta(0)) -> None:
        self.now = now
        self._step = step

    def __call__(self) -> datetime:
        now = self.now
        self.now += self._step
        return now

    def advance(self, span: timedelta) -> None:
        self.now += span
