"""Rows for existing tables: no row of another table changes, and all are stored or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from holdfast.model.backup import Relation
from holdfast.model.errors import RestoreFailed, TargetNotEmpty, Unsupported
from holdfast.model.restore import Restored
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.equality import dump
from tests.support.loop import keep, restored
from tests.support.postgres_server import PostgresServer

SHOP = """
CREATE TABLE customer (id int PRIMARY KEY, name text);
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customer {action});
INSERT INTO customer VALUES (1, 'ann'), (2, 'bob');
INSERT INTO orders VALUES (10, 1), (20, 2), (30, 2);
"""
CUSTOMER = Relation(schema="public", name="customer")
TRIGGER = """
CREATE FUNCTION interferes() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN {does}; RETURN NULL; END $$;
CREATE TRIGGER interferes AFTER {event} ON customer {each} EXECUTE FUNCTION interferes();
"""
# Two tables that refer to each other row by row, each with a key that is not deferrable.
CIRCLE = """
CREATE TABLE hen (id int PRIMARY KEY, egg int);
CREATE TABLE egg (id int PRIMARY KEY, hen int REFERENCES hen {action});
INSERT INTO hen VALUES (1, NULL), (2, NULL);
INSERT INTO egg VALUES (1, 1), (2, 2);
UPDATE hen SET egg = id;
ALTER TABLE hen ADD FOREIGN KEY (egg) REFERENCES egg {action};
"""


class Standing:
    """A database that was backed up and has changed since."""

    def __init__(self, server: PostgresServer, folder: Path, *statements: str) -> None:
        self.server = server
        self.folder = folder
        self.database = server.database(*statements)
        self.parts = keep(PostgresSource(dsn=server.conninfo(self.database)), folder)
        self.as_backed_up = self.dump()

    def dump(self) -> list[str]:
        return dump(self.server.conninfo(self.database))

    def run(self, statement: str) -> None:
        self.server.run(self.database, statement)

    def ask(self, query: str) -> list[tuple[object, ...]]:
        return self.server.ask(self.database, query)

    def restore(self, *tables: str, **wanted: Any) -> Restored:
        chosen = [Relation(schema="public", name=name) for name in tables]
        target = PostgresTarget(url=self.server.conninfo(self.database))
        return restored(target, self.parts, self.folder, tables=chosen, **wanted)


@pytest.mark.parametrize("action", ["ON DELETE CASCADE", "ON DELETE SET NULL"])
def test_rows_that_a_foreign_key_would_change_with_those_replaced_are_named_and_stay(
    server: PostgresServer, tmp_path: Path, action: str
) -> None:
    shop = Standing(server, tmp_path, SHOP.format(action=action))
    shop.run("UPDATE customer SET name = 'changed'")
    before = shop.dump()
    with pytest.raises(TargetNotEmpty) as caught:
        shop.restore("customer", overwrite=True)
    assert "cannot replace rows of table 'public.customer'" in caught.value.message
    assert "'public.orders' (3 " in caught.value.message
    assert "--table" in caught.value.hint
    assert shop.dump() == before


def test_rows_that_the_backup_does_not_hold_but_others_refer_to_are_not_taken_away(
    server: PostgresServer, tmp_path: Path
) -> None:
    shop = Standing(server, tmp_path, SHOP.format(action=""))
    shop.run("INSERT INTO customer VALUES (3, 'eve'); INSERT INTO orders VALUES (40, 3)")
    before = shop.dump()
    with pytest.raises(TargetNotEmpty) as caught:
        shop.restore("customer", overwrite=True)
    assert "refer to rows that would be deleted: 'public.orders' (4 rows)" in caught.value.message
    assert shop.dump() == before


@pytest.mark.parametrize("action", ["", "DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"])
def test_a_table_that_others_refer_to_is_replaced_where_that_changes_none_of_their_rows(
    server: PostgresServer, tmp_path: Path, action: str
) -> None:
    shop = Standing(server, tmp_path, SHOP.format(action=action))
    shop.run("UPDATE customer SET name = 'changed'")
    shop.restore("customer", overwrite=True)
    # The key is unchanged too.
    assert shop.dump() == shop.as_backed_up


def test_a_key_that_restricts_is_no_way_around(server: PostgresServer, tmp_path: Path) -> None:
    shop = Standing(server, tmp_path, SHOP.format(action="ON DELETE RESTRICT"))
    with pytest.raises(TargetNotEmpty, match=r"'public\.orders' \(3 rows\)"):
        shop.restore("customer", overwrite=True)
    assert shop.dump() == shop.as_backed_up
    shop.run("UPDATE customer SET name = 'changed'")
    shop.restore("customer", "orders", overwrite=True)
    assert shop.dump() == shop.as_backed_up


@pytest.mark.parametrize(
    ("event", "each", "does", "said"),
    [
        ("DELETE", "FOR EACH ROW", "DELETE FROM log", "2 rows deleted"),
        ("INSERT", "FOR EACH ROW", "INSERT INTO log VALUES ('again')", "2 rows added"),
        ("INSERT", "FOR EACH STATEMENT", "UPDATE log SET what = 'later'", "2 rows changed"),
        ("INSERT", "FOR EACH STATEMENT", "TRUNCATE log", "truncated"),
    ],
)
def test_rows_that_a_trigger_would_change_are_named_and_stay(
    server: PostgresServer, tmp_path: Path, event: str, each: str, does: str, said: str
) -> None:
    trigger = TRIGGER.format(event=event, each=each, does=does)
    log = "CREATE TABLE log (what text); INSERT INTO log VALUES ('one'), ('two')"
    shop = Standing(server, tmp_path, "CREATE TABLE customer (id int)", log, trigger)
    shop.run("ALTER TABLE customer DISABLE TRIGGER USER; INSERT INTO customer VALUES (1), (2)")
    shop.run("ALTER TABLE customer ENABLE TRIGGER USER")
    shop.parts = keep(PostgresSource(dsn=server.conninfo(shop.database)), tmp_path / "later")
    shop.folder = tmp_path / "later"
    before = shop.dump()
    with pytest.raises(TargetNotEmpty) as caught:
        shop.restore("customer", overwrite=True)
    assert f"'public.log' ({said}" in caught.value.message
    assert "--disable-triggers" in caught.value.hint
    assert shop.dump() == before
    shop.restore("customer", overwrite=True, triggers=False)
    assert shop.dump() == before


def test_a_trigger_that_minds_its_own_rows_is_no_obstacle(
    server: PostgresServer, tmp_path: Path
) -> None:
    shop = Standing(
        server,
        tmp_path,
        "CREATE TABLE customer (id int)",
        TRIGGER.format(event="INSERT", each="FOR EACH ROW", does="PERFORM 1"),
        "INSERT INTO customer VALUES (1)",
    )
    shop.run("DELETE FROM customer")
    shop.restore("customer", overwrite=True)
    assert shop.dump() == shop.as_backed_up


@pytest.mark.parametrize("action", ["", "ON DELETE CASCADE", "ON DELETE SET NULL"])
def test_tables_that_refer_to_each_other_are_replaced_together(
    server: PostgresServer, tmp_path: Path, action: str
) -> None:
    farm = Standing(server, tmp_path, CIRCLE.format(action=action))
    farm.run("UPDATE hen SET egg = NULL; UPDATE egg SET hen = NULL; DELETE FROM egg")
    farm.restore("hen", "egg", overwrite=True)
    assert farm.dump() == farm.as_backed_up


def test_a_tree_in_one_table_is_replaced(server: PostgresServer, tmp_path: Path) -> None:
    tree = Standing(
        server,
        tmp_path,
        "CREATE TABLE node (id int PRIMARY KEY, above int REFERENCES node ON DELETE RESTRICT);"
        "INSERT INTO node VALUES (1, NULL), (2, 1), (3, 2)",
    )
    tree.run("DELETE FROM node WHERE id = 3; INSERT INTO node VALUES (4, 1)")
    tree.restore("node", overwrite=True)
    assert tree.dump() == tree.as_backed_up


def test_a_table_that_cannot_be_replaced_leaves_all_the_others_as_they_were(
    server: PostgresServer, tmp_path: Path
) -> None:
    shop = Standing(
        server, tmp_path, "CREATE TABLE a AS SELECT 1 AS x", "CREATE TABLE b AS SELECT 2 AS x"
    )
    shop.run("UPDATE a SET x = 10; ALTER TABLE b ADD CHECK (x > 2) NOT VALID")
    before = shop.dump()
    with pytest.raises(RestoreFailed, match=r"cannot restore table 'public\.b'"):
        shop.restore("a", "b", overwrite=True)
    assert shop.dump() == before


def test_rows_come_in_the_order_of_the_foreign_keys_of_the_target(
    server: PostgresServer, tmp_path: Path
) -> None:
    shop = Standing(server, tmp_path, SHOP.format(action=""))
    shop.run("DELETE FROM orders; DELETE FROM customer")
    shop.restore(data_only=True)
    assert shop.dump() == shop.as_backed_up


def test_rows_of_a_table_made_since_the_backup_are_never_changed(
    server: PostgresServer, tmp_path: Path
) -> None:
    shop = Standing(server, tmp_path, SHOP.format(action=""))
    shop.run(
        "CREATE TABLE invoice (customer int REFERENCES customer ON DELETE CASCADE);"
        "INSERT INTO invoice VALUES (1)"
    )
    with pytest.raises(TargetNotEmpty, match=r"'public\.invoice' \(1 rows deleted\)"):
        shop.restore("customer", "orders", overwrite=True)
    assert shop.ask("SELECT customer FROM invoice") == [(1,)]


def test_a_table_that_is_empty_and_refers_to_one_is_no_obstacle(
    server: PostgresServer, tmp_path: Path
) -> None:
    shop = Standing(server, tmp_path, SHOP.format(action="ON DELETE CASCADE"))
    shop.run("DELETE FROM orders; UPDATE customer SET name = 'changed'")
    shop.restore("customer", overwrite=True)
    assert shop.ask("SELECT name FROM customer ORDER BY id") == [("ann",), ("bob",)]


def test_partitions_are_replaced_with_their_keys(server: PostgresServer, tmp_path: Path) -> None:
    shop = Standing(
        server,
        tmp_path,
        "CREATE TABLE day (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE day_1 PARTITION OF day FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE day_2 PARTITION OF day FOR VALUES FROM (10) TO (20);"
        "CREATE TABLE note (day int REFERENCES day) PARTITION BY LIST (day);"
        "CREATE TABLE note_1 PARTITION OF note FOR VALUES IN (1);"
        "CREATE TABLE note_2 PARTITION OF note DEFAULT;"
        "INSERT INTO day VALUES (1), (11); INSERT INTO note VALUES (1), (11)",
    )
    shop.run("DELETE FROM note; DELETE FROM day; INSERT INTO day VALUES (2)")
    shop.restore("day", "note", overwrite=True)
    assert shop.dump() == shop.as_backed_up
    shop.run("INSERT INTO day VALUES (12); INSERT INTO note VALUES (12); DELETE FROM note_1")
    with pytest.raises(TargetNotEmpty, match=r"'public\.note' \(2 rows\)"):
        shop.restore("day", overwrite=True)


def test_what_nobody_checked_without_triggers_is_told(
    server: PostgresServer, tmp_path: Path
) -> None:
    shop = Standing(server, tmp_path, SHOP.format(action=""))
    shop.run("INSERT INTO customer VALUES (3, 'eve'); INSERT INTO orders VALUES (40, 3)")
    (note,) = shop.restore("customer", overwrite=True, triggers=False).notes
    assert note.startswith("1 rows of table 'public.orders' refer to rows of 'public.customer'")


def test_rows_for_tables_that_stand_are_all_or_none_also_where_one_would_keep_going(
    server: PostgresServer, tmp_path: Path
) -> None:
    shop = Standing(server, tmp_path, SHOP.format(action=""))
    with pytest.raises(Unsupported, match="cannot restore past errors"):
        shop.restore("customer", overwrite=True, keep_going=True)
    assert shop.dump() == shop.as_backed_up


def test_a_session_that_holds_a_table_that_is_to_be_replaced_is_named(
    server: PostgresServer, tmp_path: Path
) -> None:
    shop = Standing(server, tmp_path, SHOP.format(action=""))
    target = PostgresTarget(url=server.conninfo(shop.database), lock_wait_seconds=1)
    with psycopg.connect(server.conninfo(shop.database)) as other:
        other.execute("LOCK TABLE customer IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(RestoreFailed) as caught:
            restored(target, shop.parts, tmp_path, tables=[CUSTOMER], overwrite=True)
    assert "lock timeout: table 'public.customer', held by pid" in caught.value.message


def test_readers_see_the_old_rows_until_the_new_ones_are_all_there(
    server: PostgresServer, tmp_path: Path
) -> None:
    shop = Standing(server, tmp_path, SHOP.format(action=""))
    shop.run("UPDATE customer SET name = 'changed'")
    with psycopg.connect(server.conninfo(shop.database)) as reader:
        reader.execute("SELECT name FROM customer")
        shop.restore("customer", overwrite=True)
    assert shop.ask("SELECT name FROM customer ORDER BY id") == [("ann",), ("bob",)]
