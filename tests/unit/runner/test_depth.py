"""The cases that a sample takes."""

from __future__ import annotations

import pytest

from tests.runner import engine, turns
from tests.support import depth


def test_turns_take_all_in_the_end_on_every_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(depth.DEPTH, "sample")
    met = set()
    for turn in range(18):
        monkeypatch.setenv(depth.TURN, str(turn))
        taken = depth.by_turns(range(40))
        assert 13 <= len(taken) <= 14
        met |= {(server, each) for server in turns.of_turn(turn).engine for each in taken}
    assert met == {(server, each) for server in turns.EVERY.engine for each in range(40)}


def test_the_full_depth_takes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(depth.DEPTH, "full")
    assert depth.by_turns("abcd") == ["a", "b", "c", "d"]


def test_hosts_are_told_the_turn_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(depth.TURN, "4711")
    assert f"{depth.TURN}=4711" in engine._environment(engine.MYSQL)
