from __future__ import annotations

import pytest

from holdfast.model.backup import Relation
from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.rows.insert_text import Limits, long_row, mark, statement
from holdfast.sources.mysql.server.columns import Column
from holdfast.sources.mysql.server.tables import Table

TABLE = Table(
    relation=Relation(schema="s", name="a`b\n; --"),
    kind="BASE TABLE",
    engine="InnoDB",
    columns=(
        Column(name="id", data_type="int", nullable=False),
        Column(name="body", data_type="longblob"),
    ),
    key=None,
    rows=0,
    row_bytes=0,
    data_bytes=0,
)
TOO_LARGE = "max_allowed_packet is too small for a value of 5 bytes"
LIMITS = Limits(statement_bytes=100, longest_bytes=100, piece_bytes=2)


def test_carriage_returns_survive_clients_that_would_drop_them() -> None:
    assert statement(TABLE, b"(1,'a\r\nb')") == (
        b"INSERT INTO `a``b\n; --` (`id`,`body`) VALUES\n(1,'a\\r\nb');\n"
    )


def test_no_name_of_a_table_can_leave_the_comment_that_it_stands_in() -> None:
    assert mark(TABLE) == b'-- holdfast: rows of table "a`b\\n; --"\n'


CHECK = f"IF(LENGTH(@holdfast_1) <=> 5, @@SESSION.lc_time_names, '{TOO_LARGE}')"


def test_a_long_value_is_gathered_piece_by_piece() -> None:
    batches = list(long_row(TABLE, (b"7", b"\x00\x01\x02\x03\x04"), LIMITS))
    assert [batch.rows for batch in batches] == [0, 0, 0, 0, 1]
    assert b"".join(batch.sql for batch in batches).decode().splitlines() == [
        "SET @holdfast_1 = x'0001';",
        "SET @holdfast_1 = CONCAT(@holdfast_1, x'0203');",
        "SET @holdfast_1 = CONCAT(@holdfast_1, x'04');",
        f"SET SESSION lc_time_names = {CHECK};",
        "INSERT INTO `a``b",
        "; --` (`id`,`body`) VALUES",
        "(7,@holdfast_1);",
    ]


def test_a_long_row_keeps_null_apart_from_nothing() -> None:
    (empty,) = [b.sql for b in long_row(TABLE, (b"1", None), LIMITS)]
    assert empty.endswith(b"(1,NULL);\n")
    first, *_ = [b.sql for b in long_row(TABLE, (b"1", b""), LIMITS)]
    assert first == b"SET @holdfast_1 = x'';\n"


def test_a_value_that_the_server_left_out_is_an_error() -> None:
    with pytest.raises(BackupFailed, match="left out a value"):
        list(long_row(TABLE, (None, b""), LIMITS))
