"""The query by which the server computes the checksum of a table."""

from __future__ import annotations

import pytest

from holdfast.model.backup import Relation
from holdfast.sources.mysql.server.columns import Column
from holdfast.sources.mysql.server.content_checksum import piece, question
from holdfast.sources.mysql.server.tables import Table


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (Column(name="a", data_type="int"), "IFNULL(CONCAT(`a`),'N')"),
        (
            Column(name="a", data_type="varchar", charset="ascii"),
            "IFNULL(CONCAT(LENGTH(CAST(`a` AS BINARY)),':',CAST(`a` AS BINARY)),'N')",
        ),
        (Column(name="a", data_type="longtext"), "IFNULL(SHA2(`a`,256),'N')"),
        (Column(name="a", data_type="vector"), "IFNULL(SHA2(`a`,256),'N')"),
        (Column(name="a", data_type="float"), "IFNULL(CONCAT(`a`,'=',ABS(`a`*1e0)),'N')"),
        (
            Column(name="a`b", data_type="uuid"),
            (
                "IFNULL(CONCAT(LENGTH(CAST(CONCAT(`a``b`) AS BINARY)),':',"
                "CAST(CONCAT(`a``b`) AS BINARY)),'N')"
            ),
        ),
    ],
)
def test_every_value_says_where_it_ends_and_that_it_is_there(column: Column, text: str) -> None:
    assert piece(column) == text


def test_rows_are_summed_up_in_one_question_over_the_whole_table() -> None:
    columns = (Column(name="a", data_type="int"), Column(name="b", data_type="date"))
    table = Table(
        relation=Relation(schema="shop", name="t"),
        kind="BASE TABLE",
        engine="InnoDB",
        columns=columns,
        key=None,
        rows=0,
        row_bytes=0,
        data_bytes=0,
    )
    assert question(table) == (
        "SELECT COUNT(*),SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS(',',IFNULL(CONCAT(`a`),'N'),"
        "IFNULL(CONCAT(`b`),'N')),256),16),16,10) AS UNSIGNED)) FROM `t` "
    )
