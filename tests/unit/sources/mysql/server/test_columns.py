from __future__ import annotations

import pytest

from holdfast.sources.mysql.server.columns import Column, row_text


@pytest.mark.parametrize(
    ("data_type", "charset", "literal"),
    [
        ("int", "", "IFNULL(`c`,'NULL')"),
        ("float", "", "QUOTE(`c`*1e0)"),
        ("double", "", "QUOTE(`c`)"),
        ("bit", "", "IFNULL(CAST(`c` AS UNSIGNED),'NULL')"),
        ("enum", "latin1", "IFNULL(CAST(`c` AS UNSIGNED),'NULL')"),
        ("varchar", "utf8mb4", "QUOTE(CAST(`c` AS BINARY))"),
        ("varchar", "latin1", "QUOTE(CAST(CONVERT(`c` USING utf8mb4) AS BINARY))"),
        ("text", "ascii", "IFNULL(CONCAT('x''',HEX(`c`),''''),'NULL')"),
        ("text", "sjis", "IFNULL(CONCAT('x''',HEX(`c`),''''),'NULL')"),
        ("longblob", "", "IFNULL(CONCAT('x''',HEX(`c`),''''),'NULL')"),
        ("point", "", "IFNULL(CONCAT('x''',HEX(`c`),''''),'NULL')"),
        ("datetime", "", "QUOTE(`c`)"),
        ("uuid", "", "QUOTE(`c`)"),
    ],
)
def test_each_type_is_written_so_that_nothing_is_lost(
    data_type: str, charset: str, literal: str
) -> None:
    assert Column(name="c", data_type=data_type, charset=charset).literal == literal


def test_a_column_that_is_never_null_needs_no_check_for_it() -> None:
    assert Column(name="a`b", data_type="int", nullable=False).literal == "`a``b`"


def test_a_row_of_computed_columns_only_is_still_a_row() -> None:
    assert row_text([]) == "'()'"


def test_key_values_are_compared_in_the_order_of_their_own_index() -> None:
    key = Column(name="k", data_type="varchar", charset="latin1", collation="latin1_german2_ci")
    assert key.bound == "CONCAT('_latin1 x''',HEX(`k`),''' COLLATE latin1_german2_ci')"
