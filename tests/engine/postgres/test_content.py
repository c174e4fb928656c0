"""The server's checksums: equal for equal rows anywhere, and different for other rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from holdfast.model.backup import Part
from holdfast.model.errors import BackupFailed, RestoreFailed, SnapshotLost
from holdfast.ports.source import Snapshot, Source
from holdfast.sources.failed_objects import ROWS
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.rows.transport import Wanted
from holdfast.sources.postgres.server import table_part
from holdfast.sources.postgres.server.table_part import EACH_ROW, METHOD, TablePart
from holdfast.sources.postgres.target import PostgresTarget
from tests.support.loop import bring_back, keep, restored
from tests.support.postgres_server import PostgresServer

EVERY_TYPE = """
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN word AS text;
CREATE TABLE every_type (
    a smallint, b numeric, c float8, d text, e varchar(9), f bytea, g timestamptz, h bool,
    i char(3), j text[], k pair, l word, m int, n "char", o interval);
"""
ROWS_OF_IT = (
    (
        "(-1, 1.50, 0.1::float8 + 0.2::float8, 'a,b', 'é', '\\x00ff', '2001-09-09 01:46:40+00',"
        " true, 'x', '{NULL,\"NULL\",a}', (1, 'y'), 'w', 5, 'c', '1 mon -2 days 03:04:05')"
    ),
    "(" + ",".join(["NULL"] * 15) + ")",
    ("(0, 'NaN', '-0', '', '', '', 'infinity', false, '', '{}', ROW(NULL, NULL), '', 0, '', '0')"),
)


def texts(server: PostgresServer, *texts: str) -> list[int]:
    """The results of the server's hash."""
    return [
        int(
            str(server.ask("postgres", f"SELECT hashtextextended('{text}' COLLATE \"C\", 0)")[0][0])
        )
        for text in texts
    ]


def summed(server: PostgresServer, rows: Sequence[str]) -> str:
    """The documented method, from the text of each row."""
    return f"{METHOD}:{sum(texts(server, *rows)) + len(rows) * EACH_ROW}"


def source(server: PostgresServer, database: str, **wanted: Any) -> Source:
    return PostgresSource(dsn=server.conninfo(database), **wanted)


def kept_sums(parts: Sequence[Part]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in parts:
        pieces = [(part.relation, part.checksum)] if part.relation else []
        pieces += [(each.relation, each.checksum) for each in part.members]
        for relation, checksum in pieces:
            found.setdefault(relation.name, []).append(checksum)
    return found


def test_every_server_gives_the_number_that_can_be_worked_out_by_hand(
    server: PostgresServer, tmp_path: Path
) -> None:
    original = server.database(EVERY_TYPE, f"INSERT INTO every_type VALUES {','.join(ROWS_OF_IT)}")
    parts = keep(source(server, original), tmp_path)
    comma, e_acute, x, pair, array, word, char = texts(
        server, "a,b", "é", "x  ", "(1,y)", '{NULL,"NULL",a}', "w", "c"
    )
    (empty, blank, nothing, none) = texts(server, "", "   ", "(,)", "{}")
    first = (
        f"-1,1.50,0.30000000000000004,{comma},{e_acute},\\x{sha256(bytes([0, 255])).hexdigest()},"
        f"2001-09-09 01:46:40+00,t,{x},{array},{pair},{word},5,{char},1 mon -2 days +03:04:05"
    )
    last = (
        f"0,NaN,-0,{empty},{empty},\\x{sha256(b'').hexdigest()},infinity,f,{blank},{none},"
        f"{nothing},{empty},0,{empty},00:00:00"
    )
    assert kept_sums(parts) == {"every_type": [summed(server, [first, "," * 14, last])]}


def test_the_order_of_rows_does_not_matter_and_no_row_cancels_another(
    server: PostgresServer, tmp_path: Path
) -> None:
    original = server.database(
        "CREATE TABLE one AS SELECT g FROM generate_series(1, 3) g",
        "CREATE TABLE other AS SELECT g FROM generate_series(3, 1, -1) g",
        "CREATE TABLE twice AS SELECT g FROM unnest('{1,2,3,1,1}'::int[]) g",
        "CREATE TABLE none (g int)",
        "CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES; INSERT INTO bare DEFAULT VALUES",
    )
    found = kept_sums(keep(source(server, original), tmp_path))
    assert found["one"] == found["other"] == [summed(server, ["1", "2", "3"])]
    assert found["twice"] == [summed(server, ["1", "2", "3", "1", "1"])]
    assert found["none"] == [f"{METHOD}:0"]
    assert found["bare"] == [summed(server, ["", ""])]


@pytest.mark.parametrize("kind", ["text", "varchar", "word", "text[]"])
def test_no_value_can_be_taken_for_another_or_for_its_neighbour(
    server: PostgresServer, tmp_path: Path, kind: str
) -> None:
    values = ["NULL, 'x'", "'', 'x'", "'x', ''", "'x', NULL", "NULL, NULL", "'', ''", "'x,', 'x'"]
    values += ["'x', ',x'", "'N', 'x'"]
    if kind == "text[]":
        values = ["NULL, '{}'", "'{}', NULL", "'{NULL}', NULL", "'{NULL,NULL}', NULL", "'{}', '{}'"]
        values += ["'{\"\"}', NULL", "NULL, NULL", "'{x,x}', '{}'", "'{\"x,x\"}', '{}'"]
    original = server.database(
        "CREATE DOMAIN word AS text",
        *(
            f"CREATE TABLE t{number} (v {kind}, w {kind}); INSERT INTO t{number} VALUES ({row})"
            for number, row in enumerate(values)
        ),
    )
    found = kept_sums(keep(source(server, original), tmp_path))
    assert len({checksum for (checksum,) in found.values()}) == len(values)


def test_ranges_and_packs_and_both_ways_out_give_the_same_number(
    server: PostgresServer, tmp_path: Path, way: Wanted
) -> None:
    original = server.database(
        "CREATE TABLE t AS SELECT g, repeat('x', 500) AS x FROM generate_series(1, 5000) g",
        "ALTER TABLE t ADD gone int DEFAULT 1, ADD twice int GENERATED ALWAYS AS (g * 2) STORED",
        "ALTER TABLE t DROP COLUMN gone",
    )
    one, two = tmp_path / "ranges", tmp_path / "pack"
    for folder in (one, two):
        folder.mkdir()
    in_ranges = keep(
        source(server, original, transport=way, small_bytes=0, chunk_bytes=1 << 20), one
    )
    ranges, (packed,) = (
        kept_sums(in_ranges)["t"],
        kept_sums(keep(source(server, original), two))["t"],
    )
    assert len(ranges) > 1
    total = sum(int(each.partition(":")[2]) for each in ranges)
    assert packed == f"{METHOD}:{total}"
    (table,) = bring_back(PostgresTarget(url=server.conninfo(server.name())), in_ranges, one)
    assert table.checksum_found == table.checksum_expected == packed


def test_rows_that_are_routed_again_are_summed_up_as_one_table(
    server: PostgresServer, tmp_path: Path
) -> None:
    original, copy = (
        server.database(
            "CREATE TYPE colour AS ENUM ('grey', 'blue', 'lime', 'pink')",
            "CREATE TABLE root (c colour, n int) PARTITION BY HASH (c)",
            "CREATE TABLE odd (n int, c colour)",
            "ALTER TABLE root ATTACH PARTITION odd FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
            "CREATE TABLE even PARTITION OF root FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
            "INSERT INTO root SELECT c, n FROM unnest(enum_range(NULL::colour)) c,"
            " generate_series(1, 50) n",
        ),
        server.name(),
    )
    parts = keep(source(server, original), tmp_path)
    bring_back(PostgresTarget(url=server.conninfo(copy)), parts, tmp_path)
    (pack,) = (tmp_path / part.key for part in parts if part.members)
    pack.write_bytes(pack.read_bytes().replace(b"blue", b"grey"))
    with pytest.raises(RestoreFailed, match=r"'public\.root': it holds other values"):
        bring_back(PostgresTarget(url=server.conninfo(server.name())), parts, tmp_path)


def test_a_restore_with_other_values_fails_and_names_the_table(
    server: PostgresServer, tmp_path: Path
) -> None:
    original, copy = (
        server.database(
            "CREATE TABLE orders AS SELECT 1 AS id, 'bread' AS what UNION SELECT 2, 'butter'",
            "CREATE TABLE tags AS SELECT 1 AS id, 'fresh' AS what",
        ),
        server.name(),
    )
    parts = keep(source(server, original), tmp_path)
    (pack,) = (tmp_path / part.key for part in parts if part.members)
    pack.write_bytes(pack.read_bytes().replace(b"butter", b"batter"))
    target = PostgresTarget(url=server.conninfo(copy))
    with pytest.raises(RestoreFailed) as failure:
        bring_back(target, parts, tmp_path)
    assert failure.value.message.startswith(
        "cannot restore table 'public.orders': it holds other values than were backed up"
    )
    assert copy not in server.databases()
    (failed,) = restored(target, parts, tmp_path, keep_going=True).failed
    assert (failed.kind, failed.name) == (ROWS, "public.orders")
    assert server.ask(copy, "SELECT what FROM tags") == [("fresh",)]


def test_only_small_tables_of_a_large_database_are_summed_up_unless_all_are_asked_for(
    server: PostgresServer, tmp_path: Path
) -> None:
    original = server.database(
        "CREATE TABLE large AS SELECT g, repeat(md5(g::text), 30) AS x"
        " FROM generate_series(1, 20000) g",
        "CREATE TABLE small AS SELECT 1 AS x",
    )
    proofs: list[str] = []
    found: dict[str, list[bool]] = {}
    for policy in ("auto", "all", "none"):
        folder = tmp_path / policy
        folder.mkdir()
        taken = source(server, original, checksums=policy)
        parts = keep(taken, folder, meanwhile=lambda seen: proofs.append(told(seen)))
        sums = kept_sums(parts)
        found[policy] = [all(sums["large"]), all(sums["small"])]
    assert found == {"auto": [False, True], "all": [True, True], "none": [False, False]}
    assert proofs[0].startswith("checksums of 1 of 2 tables, the smallest")
    assert proofs[0] in source(server, original).plan().notes


def asks_instead(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """Of the table `bad` alone."""
    usual = table_part.question

    def question(table: TablePart, types: Mapping[str, str], *, label: int = 0) -> str:
        if table.relation.name == "bad":
            return f"SELECT {label}, count(*), {number} FROM public.bad"
        return usual(table, types, label=label)

    monkeypatch.setattr(table_part, "question", question)


@pytest.mark.parametrize("small_bytes", [0, 1 << 30], ids=["alone", "packed"])
def test_a_table_that_the_server_cannot_sum_up_costs_no_other_its_checksum(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    original = server.database(
        "CREATE TABLE a AS SELECT 1 AS x; CREATE TABLE bad AS SELECT 2 AS x;"
        "CREATE TABLE z AS SELECT 3 AS x"
    )
    asks_instead(monkeypatch, "1 / (count(*) - 1)")
    parts = keep(source(server, original, small_bytes=small_bytes), tmp_path)
    found = kept_sums(parts)
    assert [all(found[name]) for name in ("a", "bad", "z")] == [True, False, True]
    folder = tmp_path / "all"
    folder.mkdir()
    with pytest.raises(BackupFailed, match=r"a checksum of table 'public\.bad': division by zero"):
        keep(source(server, original, small_bytes=small_bytes, checksums="all"), folder)
    monkeypatch.undo()
    bring_back(PostgresTarget(url=server.conninfo(server.name())), parts, tmp_path)


@pytest.mark.parametrize("small_bytes", [0, 1 << 30], ids=["alone", "packed"])
def test_a_session_that_ends_while_it_sums_up_has_lost_the_snapshot(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    original = server.database("CREATE TABLE bad AS SELECT 2 AS x")
    asks_instead(monkeypatch, "pg_terminate_backend(pg_backend_pid())::int")
    with pytest.raises(SnapshotLost, match=r"table 'public\.bad'"):
        keep(source(server, original, small_bytes=small_bytes), tmp_path)


def test_a_cast_that_lies_is_not_asked(server: PostgresServer, tmp_path: Path) -> None:
    original = server.database(
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE FUNCTION lies(mood) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'same' $$",
        "CREATE CAST (mood AS text) WITH FUNCTION lies(mood) AS IMPLICIT",
        "CREATE TABLE a AS SELECT 'sad'::mood AS m",
        "CREATE TABLE b AS SELECT 'glad'::mood AS m",
    )
    found = kept_sums(keep(source(server, original), tmp_path))
    assert found["a"] != found["b"]


def test_a_login_that_may_not_call_the_functions_backs_up_without_them(
    server: PostgresServer, tmp_path: Path
) -> None:
    role = server.role(password="x", options="IN ROLE pg_read_all_data")
    original = server.database(
        "CREATE TABLE t AS SELECT 1 AS x",
        "REVOKE EXECUTE ON FUNCTION pg_catalog.sha256(bytea) FROM PUBLIC",
    )
    proofs: list[str] = []
    login = PostgresSource(dsn=server.over_tcp(original, user=role), password="x")
    parts = keep(login, tmp_path, meanwhile=lambda seen: proofs.append(told(seen)))
    assert proofs == ["no checksums: the login may not call the function sha256(bytea)"]
    assert kept_sums(parts) == {"t": [""]}


@pytest.mark.parametrize("triggers", [False, True])
def test_rows_for_a_table_that_stands_are_compared_before_they_are_there_for_good(
    server: PostgresServer, tmp_path: Path, *, triggers: bool
) -> None:
    """Only a trigger may change them."""
    original = server.database("CREATE TABLE t AS SELECT g AS n FROM generate_series(1, 9) g")
    parts = keep(source(server, original), tmp_path)
    server.run(
        original,
        "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.n := NEW.n + 1; RETURN NEW; END';"
        "CREATE TRIGGER more BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION more();"
        "ALTER TABLE t ENABLE ALWAYS TRIGGER more",
    )
    target = PostgresTarget(url=server.conninfo(original))
    wanted: dict[str, Any] = {"data_only": True, "overwrite": True, "triggers": triggers}
    if triggers:
        (note,) = restored(target, parts, tmp_path, **wanted).notes
        assert note.startswith("table 'public.t' holds other values")
        return
    with pytest.raises(RestoreFailed, match=r"'public\.t': it holds other values"):
        restored(target, parts, tmp_path, **wanted)
    assert server.ask(original, "SELECT sum(n) FROM t") == [(45,)]


def test_tables_that_stand_with_other_types_are_not_compared_and_that_is_said(
    server: PostgresServer, tmp_path: Path
) -> None:
    original = server.database(
        "CREATE TABLE t AS SELECT g AS n, 'x' AS x FROM generate_series(1, 9) g"
    )
    parts = keep(source(server, original), tmp_path)
    copy = server.database("CREATE TABLE t (x char(5), more int DEFAULT 1, n numeric(9,2))")
    found = restored(PostgresTarget(url=server.conninfo(copy)), parts, tmp_path, data_only=True)
    assert found.notes == (
        "content of table 'public.t' is not compared: its columns have other types",
    )
    assert server.ask(copy, "SELECT sum(n) FROM t") == [(45,)]


def test_a_database_of_another_encoding_is_not_compared_and_that_is_said(
    server: PostgresServer, tmp_path: Path
) -> None:
    latin = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    original = server.database("CREATE TABLE t AS SELECT 'é' AS x", options=latin)
    parts = keep(source(server, original), tmp_path)
    copy = server.database(options="ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
    found = restored(PostgresTarget(url=server.conninfo(copy)), parts, tmp_path)
    assert found.notes == (
        (
            "content of table 'public.t' is not compared: the database has encoding UTF8 instead of"
            " LATIN1"
        ),
        "the database exists already, with ENCODING 'UTF8'; the backup has 'LATIN1'",
    )
    (table,) = bring_back(PostgresTarget(url=server.conninfo(server.name())), parts, tmp_path)
    assert table.checksum_found == table.checksum_expected != ""


def told(seen: Snapshot) -> str:
    """The checksums in the proof."""
    return seen.proof.texts()["content"]
