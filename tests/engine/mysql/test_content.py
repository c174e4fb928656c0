"""The server's checksums: equal for equal rows anywhere, and different for other rows."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from holdfast.model.backup import Part
from holdfast.model.errors import RestoreFailed
from holdfast.ports.source import Snapshot
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server.content_checksum import METHOD, WITH_TYPES
from holdfast.sources.mysql.server.options import Options
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import MARIADB, MysqlServer, numbers

EVERY_TYPE = """
    CREATE TABLE every_type (
        a tinyint, b bigint unsigned, c decimal(30,10), d float, e double, f bit(64),
        g char(5), h varchar(9) CHARACTER SET latin1, i text CHARACTER SET utf16, j binary(3),
        k varbinary(9), l longblob, m enum('x','é','') CHARACTER SET latin1, n set('p','q'),
        o date, p datetime(6), q timestamp NULL, r time(3), s year, t point)"""
ROWS = (
    (
        "(-1, 18446744073709551615, 1.5, -1.17549435e-38, 5e-324, b'11', 'a ', 'é', 'ü', 'j',"
        " x'00', x'FF00', 'é', 'p,q', '0000-00-00', '2024-02-29 01:02:03.4', '2001-09-09 01:46:40',"
        " '-838:59:59', 1901, POINT(1, 2))"
    ),
    "(" + ",".join(["NULL"] * 20) + ")",
    (
        "(0, 0, -0.5, '-0', '-0', 0, '', '', '', '', '', '', 0, '', '2024-02-31', '0000-00-00',"
        " NULL, 0, 0, NULL)"
    ),
)
POINT = bytes.fromhex("000000000101000000000000000000F03F0000000000000040")


def digest(value: bytes) -> str:
    return sha256(value).hexdigest()


def bounded(value: bytes) -> bytes:
    return str(len(value)).encode() + b":" + value


def summed(rows: Sequence[Sequence[bytes | str]]) -> str:
    """The documented method, without a server."""
    texts = (
        b",".join(each if isinstance(each, bytes) else each.encode() for each in row)
        for row in rows
    )
    return f"{METHOD}:{sum(int(digest(text)[:16], 16) for text in texts)}"


TEXTS: tuple[tuple[bytes | str, ...], ...] = (
    (
        *("-1", "18446744073709551615", "1.5000000000"),
        *("-1.17549e-38=1.1754943508222875e-38", "5e-324", "3"),
        *(bounded(b"a"), bounded(b"\xe9"), digest("ü".encode("utf-16-be"))),
        *(bounded(b"j\0\0"), bounded(b"\0"), digest(b"\xff\0")),
        *(b"2=" + bounded(b"\xe9"), b"3=" + bounded(b"p,q")),
        *("0000-00-00", "2024-02-29 01:02:03.400000", "2001-09-09 01:46:40", "-838:59:59.000"),
        *("1901", digest(POINT)),
    ),
    ("N",) * 20,
    (
        *("0", "0", "-0.5000000000", "ZERO=0", "ZERO", "0"),
        *(bounded(b""), bounded(b""), digest(b"")),
        *(bounded(b"\0\0\0"), bounded(b""), digest(b"")),
        *(b"0=" + bounded(b""), b"0=" + bounded(b"")),
        *("2024-02-31", "0000-00-00 00:00:00.000000", "N", "00:00:00.000", "0000", "N"),
    ),
)


def kept_sums(parts: Sequence[Part]) -> dict[str, str]:
    alone = {part.relation.name: part.checksum for part in parts if part.relation}
    packed = {each.relation.name: each.checksum for part in parts for each in part.members}
    return alone | packed


def test_every_server_gives_the_number_that_can_be_worked_out_by_hand(
    server: MysqlServer, tmp_path: Path
) -> None:
    lenient = "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'"
    original = server.database(
        lenient, EVERY_TYPE, f"INSERT INTO every_type VALUES {','.join(ROWS)}"
    )
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    # MariaDB never shows the sign of a zero.
    zero = "0" if server.brand is MARIADB else "-0"
    texts = [
        [each.replace("ZERO", zero) if isinstance(each, str) else each for each in row]
        for row in TEXTS
    ]
    assert kept_sums(parts) == {"every_type": summed(texts)}


def test_the_order_of_rows_does_not_matter_and_no_row_cancels_another(
    server: MysqlServer, tmp_path: Path
) -> None:
    original = server.database(
        *(f"CREATE TABLE {name} (a int)" for name in ("one", "other", "twice", "none")),
        "INSERT INTO one VALUES (1), (2), (3)",
        "INSERT INTO other VALUES (3), (1), (2)",
        "INSERT INTO twice VALUES (1), (2), (3), (1), (1)",
    )
    found = kept_sums(keep(MysqlSource(server.url(original)), tmp_path))
    assert found["one"] == found["other"] == summed([["1"], ["2"], ["3"]])
    assert found["twice"] == summed([["1"], ["2"], ["3"], ["1"], ["1"]])
    assert found["none"] == f"{METHOD}:0"


def test_no_value_can_be_taken_for_another_or_for_its_neighbour(
    server: MysqlServer, tmp_path: Path
) -> None:
    rows = {
        "a": "('N', 'x')",
        "b": "(NULL, 'x')",
        "c": "('', 'x')",
        "d": "('x', '')",
        "e": "('x,1:y', '')",
        "f": "('x', '1:y,')",
        "g": "('1:x', '')",
    }
    original = server.database(
        *(f"CREATE TABLE {name} (v varchar(9), w varchar(9))" for name in rows),
        *(f"INSERT INTO {name} VALUES {row}" for name, row in rows.items()),
    )
    found = kept_sums(keep(MysqlSource(server.url(original)), tmp_path))
    assert len(set(found.values())) == len(rows)


def test_a_restore_with_other_values_fails_and_names_the_table(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE orders (id int PRIMARY KEY, what varchar(20))",
        "CREATE TABLE tags (id int PRIMARY KEY, what varchar(20))",
        "INSERT INTO orders VALUES (1, 'bread'), (2, 'butter')",
        "INSERT INTO tags VALUES (1, 'fresh')",
    )
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    (pack,) = (tmp_path / part.key for part in parts if part.members)
    pack.write_bytes(pack.read_bytes().replace(b"butter", b"batter"))
    with pytest.raises(RestoreFailed) as failure:
        bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert f"'{original}.orders' holds other values" in failure.value.message
    assert "tags" not in failure.value.message
    assert copy not in server.databases()


def test_a_row_longer_than_a_packet_has_a_checksum_too(server: MysqlServer, tmp_path: Path) -> None:
    packet = int(server.ask("mysql", "SELECT @@max_allowed_packet")[0][0])
    length = packet * 2 // 3
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE wide (a longblob, b longblob)",
        f"INSERT INTO wide VALUES (REPEAT('a', {length}), NULL)",
        f"UPDATE wide SET b = REPEAT('b', {length})",
    )
    source = MysqlSource(server.url(original), options=Options(checksums="all"))
    parts = keep(source, tmp_path)
    assert kept_sums(parts)["wide"] == summed([[digest(b"a" * length), digest(b"b" * length)]])
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)


def test_only_small_tables_of_a_large_database_are_summed_up_unless_all_are_asked_for(
    server: MysqlServer, tmp_path: Path
) -> None:
    original = server.database(
        "CREATE TABLE large (id int PRIMARY KEY, what char(255) NOT NULL) ENGINE=InnoDB",
        "CREATE TABLE small (id int PRIMARY KEY)",
        f"INSERT INTO large SELECT seq, SHA2(seq, 512) FROM {numbers(90_000)}",
        "ANALYZE TABLE large",
    )
    one, two, three = (tmp_path / name for name in ("auto", "all", "none"))
    for folder in (one, two, three):
        folder.mkdir()
    proofs: list[str] = []
    by_default = MysqlSource(server.url(original))
    found = kept_sums(
        keep(by_default, one, meanwhile=lambda taken: proofs.append(taken.proof.texts()["content"]))
    )
    assert (bool(found["large"]), bool(found["small"])) == (False, True)
    assert proofs[0].startswith("checksums of 1 of 2 tables, the smallest")
    assert proofs[0] in by_default.plan().notes
    found = kept_sums(
        keep(MysqlSource(server.url(original), options=Options(checksums="all")), two)
    )
    assert all(found.values())
    found = kept_sums(
        keep(MysqlSource(server.url(original), options=Options(checksums="none")), three)
    )
    assert not any(found.values())


def test_compressed_and_hidden_columns_are_part_of_the_content(
    server: MysqlServer, tmp_path: Path
) -> None:
    if server.brand is not MARIADB:
        pytest.skip("MySQL has no compressed columns")
    original = server.database(
        "CREATE TABLE t (id int, a text COMPRESSED, b int INVISIBLE DEFAULT 5)",
        "INSERT INTO t (id, a, b) VALUES (1, REPEAT('a', 1000), 7)",
    )
    found = kept_sums(keep(MysqlSource(server.url(original)), tmp_path))
    assert found == {"t": summed([["1", digest(b"a" * 1000), "7"]])}


def test_documents_come_back_with_the_types_of_all_their_values(
    server: MysqlServer, tmp_path: Path
) -> None:
    if server.brand is MARIADB:
        pytest.skip("MariaDB keeps JSON as text")
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE typed (id int PRIMARY KEY, d json)",
        "CREATE TABLE plain (id int PRIMARY KEY, d json)",
        "INSERT INTO typed VALUES (1, JSON_OBJECT('a',"
        " CAST('123456789.123456789012345678' AS DECIMAL(40,18)))),"
        " (2, JSON_ARRAY(CAST('2024-02-29' AS DATE))), (3, JSON_OBJECT('a', 1.50)),"
        ' (4, \'{"a": [1, 2.5, "x", null, true]}\')',
        "INSERT INTO plain VALUES (1, '[1.5, 1e300, \"2024-02-29\", -0.0, 12345678901234567890]'),"
        " (2, NULL), (3, JSON_QUOTE('ünïcödé \\ \n'))",
    )
    seen: list[Snapshot] = []
    parts = keep(MysqlSource(server.url(original)), tmp_path, meanwhile=seen.append)
    assert "json_changed" not in seen[0].proof.texts()
    assert kept_sums(parts)["typed"].startswith(f"{WITH_TYPES}:")
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    for question in (
        "SELECT d FROM plain ORDER BY id",
        "SELECT d, JSON_TYPE(d->'$.a'), JSON_TYPE(d->'$[0]') FROM typed ORDER BY id",
    ):
        assert server.ask(copy, question) == server.ask(original, question)


def test_a_restore_that_loses_the_type_of_a_value_fails(
    server: MysqlServer, tmp_path: Path
) -> None:
    if server.brand is MARIADB:
        pytest.skip("MariaDB keeps JSON as text")
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE t (id int PRIMARY KEY, d json)",
        "INSERT INTO t VALUES (1, JSON_ARRAY(CAST('2024-02-29' AS DATE)))",
    )
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    (data,) = (part for part in parts if part.rows)
    path = tmp_path / data.key
    text = path.read_bytes()
    path.write_bytes(text.replace(b"CAST('2024-02-29' AS DATE)", b"'2024-02-29'"))
    assert path.read_bytes() != text
    with pytest.raises(RestoreFailed, match="holds other values"):
        bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
