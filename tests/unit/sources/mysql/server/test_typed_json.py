"""Queries about JSON documents of MySQL; engine tests run them on a server."""

from __future__ import annotations

import re

from holdfast.sources.mysql.server import typed_json
from holdfast.sources.mysql.server.columns import Column, raw_row


def as_old_server(sql: str) -> str:
    """What a MySQL reads that is older than the version of the comments."""
    return re.sub(r"/\*!80014 .*? \*/", "", sql, flags=re.DOTALL)


def test_a_server_that_knows_no_such_question_gives_the_text() -> None:
    assert as_old_server(typed_json.literal("a`b")) == (
        "QUOTE(CAST(`a``b` AS CHAR CHARACTER SET utf8mb4))"
    )
    assert as_old_server(typed_json.types_of_any("d")) == "NULL"


def test_a_long_row_tells_types_behind_its_values() -> None:
    columns = [Column(name="d", data_type="json"), Column(name="n", data_type="int")]
    told = raw_row(columns)
    assert told[0] == "CAST(`d` AS CHAR CHARACTER SET utf8mb4)"
    assert len(told) == 3
    assert columns[0].restored("@v", b",'$',1") == "JSON_SET(CONVERT(@v USING utf8mb4),'$',1)"
    assert columns[0].restored("@v", None) == "CONVERT(@v USING utf8mb4)"
