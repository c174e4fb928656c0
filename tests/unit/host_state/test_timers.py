"""The next start of a job by systemd, from a stand-in for `systemctl`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.host_state.timers import next_run


@pytest.mark.parametrize(
    ("program", "moment"),
    [
        # As systemd 252 and 257 print it.
        (
            """echo '[{"next":1795140000723740,"left":1795140000723740,"last":null,"unit":"u"}]'""",
            datetime(2026, 11, 20, 2, 0, tzinfo=UTC),
        ),
        ("""echo '[{"next":null,"unit":"u"}]'""", None),
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
        systemctl = tmp_path / "systemctl"
        asked = '[ "$3" = "holdfast-backup-shop.timer" ] || exit 9'
        systemctl.write_text(f"#!/bin/sh\n{asked}\n{program}\n")
        systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert next_run("shop") == moment
