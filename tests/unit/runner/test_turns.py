"""The servers that a run chooses."""

from __future__ import annotations

from tests.runner import turns


def test_a_run_takes_a_server_of_each_kind_and_their_turn_comes_to_all() -> None:
    met = [turns.of_turn(turn) for turn in range(6)]
    for servers in met:
        postgres, mysql = servers.engine
        assert (postgres in turns.POSTGRES, mysql in turns.MYSQL) == (True, True)
        assert len(servers.site) == 2
    assert {name for servers in met for name in servers.engine} == set(turns.EVERY.engine)
    assert {name for servers in met for name in servers.site} == set(turns.EVERY.site)


def test_the_same_commit_meets_the_same_servers() -> None:
    turn = turns.turn_of_this_run()
    assert turns.of_turn(turn) == turns.of_turn(turns.turn_of_this_run())


def test_servers_that_somebody_names_are_taken_and_the_site_keeps_hosts() -> None:
    assert turns.chosen(["pg18"]) == turns.Servers(engine=("pg18",), site=turns.EVERY.site)
    assert turns.chosen(["pg13", "mysql9"]).site == ("pg13",)
