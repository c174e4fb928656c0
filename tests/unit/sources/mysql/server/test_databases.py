"""SHOW REPLICA STATUS, with the column names of each version."""

from __future__ import annotations

from holdfast.sources.mysql.server.databases import NONE, Replication, of_status


def test_a_server_without_sources_is_no_replica() -> None:
    assert of_status([]) == NONE


def test_both_brands_are_understood() -> None:
    maria = {"Slave_SQL_Running": "Yes", "Seconds_Behind_Master": "12"}
    mysql = {"Replica_SQL_Running": "No", "Seconds_Behind_Source": ""}
    assert of_status([maria]) == Replication(is_replica=True, applies=True, lag_seconds=12.0)
    assert of_status([mysql]) == Replication(is_replica=True, applies=False, lag_seconds=None)


def test_of_several_sources_the_furthest_behind_counts() -> None:
    rows = [
        {"Slave_SQL_Running": "No", "Seconds_Behind_Master": "3"},
        {"Slave_SQL_Running": "Yes", "Seconds_Behind_Master": "700"},
    ]
    assert of_status(rows) == Replication(is_replica=True, applies=True, lag_seconds=700.0)
