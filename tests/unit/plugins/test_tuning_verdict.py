"""The verdict that a tuning leaves on a host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.host_state.tuning import last_verdict
from plugins.module_utils.tuning_verdict import MOST_REASONS, forget, leave, verdict
from plugins.modules.fleet_answer import system

AT = "2026-11-30T15:00:00+00:00"


def row(state: str, *, reason: str = "", key: str = "k") -> dict[str, str]:
    return {"role": "limits", "key": key, "state": state, "reason": reason}


def test_counts_name_every_state_and_a_good_run_needs_no_reason() -> None:
    told = verdict([row("ok"), row("ok"), row("changed"), row("skipped", reason="not ours")], at=AT)
    assert told == {
        "schema": "holdfast.tuning-verdict/1",
        "at": AT,
        "outcome": "ok",
        "counts": {"ok": 2, "changed": 1, "skipped": 1, "pending": 0, "failed": 0},
        "reasons": [],
    }


def test_what_is_pending_is_named_and_what_failed_comes_first() -> None:
    waits = row("pending", reason="needs a restart of the service")
    assert verdict([waits], at=AT)["outcome"] == "pending"
    told = verdict([waits, row("differs", key="x")], failure="cannot\nset it", at=AT)
    assert (told["outcome"], told["counts"]["failed"]) == ("failed", 1)
    assert told["reasons"] == [
        "cannot set it",
        "limits x: not as wanted",
        "limits k: needs a restart of the service",
    ]


def test_reasons_are_few_and_short() -> None:
    told = verdict([row("pending", reason="x" * 1000)] * 9, at=AT)
    assert len(told["reasons"]) == MOST_REASONS
    assert max(map(len, told["reasons"])) <= 300


def test_everybody_may_read_the_verdict_and_it_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "tuning"
    leave(verdict([], at=AT), folder=folder)
    leave(verdict([row("ok")], at=AT), folder=folder)
    assert [path.name for path in folder.iterdir()] == ["verdict.json"]
    assert json.loads((folder / "verdict.json").read_text())["counts"]["ok"] == 1
    assert (folder / "verdict.json").stat().st_mode & 0o777 == 0o644
    assert folder.stat().st_mode & 0o777 == 0o711
    forget(folder=folder)
    forget(folder=folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('NAME="Debian GNU/Linux"\nID=debian\n', ("Debian GNU/Linux", True)),
        ('NAME="Ubuntu"\nID=ubuntu\nID_LIKE="debian"\n', ("Ubuntu", True)),
        ("NAME='Fedora Linux'\nID=fedora\n", ("Fedora Linux", False)),
        ("", ("an unknown system", False)),
    ],
)
def test_a_system_is_a_debian_by_itself_or_by_descent(text: str, told: tuple[str, bool]) -> None:
    assert system(text) == told


def test_the_runner_reads_what_a_tuning_leaves(tmp_path: Path) -> None:
    leave(verdict([row("pending", reason="at the next boot")], at=AT), folder=tmp_path)
    read = last_verdict(tmp_path / "verdict.json")
    assert read is not None
    assert (read.outcome, read.counts["pending"]) == ("pending", 1)
    assert read.reasons == ("limits k: at the next boot",)
    modes = [each.stat().st_mode & 0o777 for each in (tmp_path, tmp_path / "verdict.json")]
    assert modes == [0o711, 0o644], "the user of backups gets through to it"
