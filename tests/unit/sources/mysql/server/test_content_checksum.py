"""The query by which the server computes the checksum of a table."""

from __future__ import annotations

import pytest

from holdfast.model.backup import Relation
from holdfast.model.checksums import chosen
from holdfast.sources.mysql.server.columns import Column
from holdfast.sources.mysql.server.content_checksum import METHOD, Content, piece, question, total
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


def a_table(*columns: Column) -> Table:
    return Table(
        relation=Relation(schema="shop", name="t"),
        kind="BASE TABLE",
        engine="InnoDB",
        columns=columns,
        key=None,
        rows=0,
        row_bytes=0,
        data_bytes=0,
    )


TABLE = a_table(Column(name="a", data_type="int"), Column(name="b", data_type="date"))


def test_a_query_of_rows_sums_them_up_only_where_a_checksum_is_wanted_and_is_one_expression() -> (
    None
):
    sizes = {TABLE.relation: 5}
    assert Content(chosen(sizes, "all")).beside_rows(TABLE) == total(TABLE)
    assert Content(chosen(sizes, "none")).beside_rows(TABLE) == ""
    document = a_table(Column(name="a", data_type="json"))
    assert Content(chosen(sizes, "all")).beside_rows(document) == ""


def test_a_sum_is_told_like_one_of_a_query_of_its_own_unless_the_rows_are_too_many() -> None:
    few = Content(chosen({TABLE.relation: 5}, "auto"))
    assert few.told(TABLE, 7, size_bytes=1 << 20) == f"{METHOD}:7"
    assert few.told(TABLE, 7, size_bytes=1 << 30) == ""


def test_rows_are_summed_up_in_one_question_over_the_whole_table() -> None:
    assert question(TABLE) == (
        "SELECT COUNT(*),SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS(',',IFNULL(CONCAT(`a`),'N'),"
        "IFNULL(CONCAT(`b`),'N')),256),16),16,10) AS UNSIGNED)) FROM `t` "
    )
