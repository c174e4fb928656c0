"""What a reader learns about tables: their keys and sizes, without having the server open each."""

from __future__ import annotations

from holdfast.sources.mysql.server.connection import Address
from holdfast.sources.mysql.server.session import session
from holdfast.sources.mysql.server.tables import Table, read_tables
from tests.support.mysql_server import PASSWORD, MysqlServer, numbers, of_database

MANY = 150
KEYS = {
    "plain": "id int PRIMARY KEY, a int, UNIQUE KEY u (a)",
    "secondary": "a int NOT NULL, b int, UNIQUE KEY nullable (b), UNIQUE KEY u (a)",
    "prefixed": "a varchar(90) NOT NULL, PRIMARY KEY (a(9))",
    "small_tree": "a int NOT NULL, PRIMARY KEY (a) USING BTREE",
    "small_hash": "a int NOT NULL, PRIMARY KEY (a) USING HASH",
    "parts": "a int PRIMARY KEY",
}
USABLE = {"plain": "PRIMARY", "secondary": "u", "small_tree": "PRIMARY", "parts": "PRIMARY"}
TAILS = {
    "small_tree": "ENGINE = MEMORY",
    "small_hash": "ENGINE = MEMORY",
    "parts": "PARTITION BY HASH (a) PARTITIONS 3",
}


def read(server: MysqlServer, database: str, *, user: str = "") -> dict[str, Table]:
    address = Address.parse(server.url(database, user=user), password=PASSWORD if user else "")
    with session(address) as asking:
        tables = read_tables(asking, database, sizes="kept")
        return {table.relation.name: table for table in tables}


def test_only_an_ordered_key_without_null_is_read_along(server: MysqlServer) -> None:
    made = [f"CREATE TABLE {name} ({of}) {TAILS.get(name, '')}" for name, of in KEYS.items()]
    usable = dict(USABLE)
    if server.brand.name == "mariadb":
        # The server gives a key that is too long for a tree the form of a hash.
        made.append("CREATE TABLE long_text (a varchar(5000) NOT NULL, UNIQUE KEY u (a))")
    tables = read(server, server.database(*made))
    assert len(tables) == len(made)
    assert {name: table.key.index for name, table in tables.items() if table.key} == usable


def test_sizes_are_those_that_the_server_shows(server: MysqlServer) -> None:
    rows = f"SELECT seq, REPEAT('a', 900) FROM {numbers(900)}"
    made = {
        "t": "",
        "with#sign é": "",
        "p": "PARTITION BY HASH (id) PARTITIONS 3",
        "transient": "STATS_PERSISTENT = 0",
        "elsewhere": "ENGINE = MyISAM",
    }
    names = {name: f"`{name}`" for name in made}
    original = server.database(
        *(
            f"CREATE TABLE {names[name]} (id int PRIMARY KEY, a varchar(900)) {tail}"
            for name, tail in made.items()
        ),
        *(f"INSERT INTO {quoted} {rows}" for quoted in names.values()),
        f"ANALYZE TABLE {', '.join(names.values())}",
    )
    question = "SELECT table_name, table_rows, data_length FROM information_schema.tables"
    shown = server.ask(original, f"{question} WHERE table_schema = DATABASE()")
    found = read(server, original)
    assert {(each, str(of.rows), str(of.data_bytes)) for each, of in found.items()} == set(shown)
    assert all(table.row_bytes == table.data_bytes // table.rows > 900 for table in found.values())


def test_a_login_that_may_not_read_the_statistics_sees_the_same(server: MysqlServer) -> None:
    original = server.database(
        "CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1), (2)", "ANALYZE TABLE a"
    )
    user = server.account(of_database(original, "SELECT"))
    assert read(server, original, user=user) == read(server, original)


def test_the_server_opens_no_table_for_it(server: MysqlServer) -> None:
    names = [f"t{number:03}" for number in range(MANY)]
    made = (f"CREATE TABLE {name} (id int PRIMARY KEY, a int, KEY (a))" for name in names)
    original = server.database(*made)
    server.run("mysql", "FLUSH TABLES")
    with session(Address.parse(server.url(original), password="")) as asking:
        opened = "SHOW SESSION STATUS LIKE 'Opened_tables'"
        before = int(asking.text(opened)[0][1])
        assert len(read_tables(asking, original, sizes="kept")) == MANY
        assert int(asking.text(opened)[0][1]) - before < MANY // 2
