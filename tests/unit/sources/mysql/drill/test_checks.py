"""What CHECK TABLE says becomes a row, and only reading statements are checks."""

from __future__ import annotations

import pytest

from holdfast.model.drill import Outcome
from holdfast.model.errors import CheckRefused
from holdfast.sources.mysql.drill.checks import judged, require_reading


@pytest.mark.parametrize(
    ("answers", "outcome", "found"),
    [
        ([("status", "OK")], Outcome.PASSED, "OK"),
        (
            [("status", "Table is already up to date")],
            Outcome.PASSED,
            "Table is already up to date",
        ),
        ([("error", "Corrupt"), ("status", "OK")], Outcome.FAILED, "Corrupt"),
        (
            [("warning", "1 client is using it"), ("status", "OK")],
            Outcome.FAILED,
            "1 client is using it",
        ),
        ([("error", "Corrupt")], Outcome.FAILED, "Corrupt"),
        ([("status", "Operation failed")], Outcome.FAILED, "Operation failed"),
        ([], Outcome.FAILED, "nothing"),
        (
            [("note", "The storage engine for the table doesn't support check")],
            Outcome.SKIPPED,
            "",
        ),
    ],
)
def test_only_a_clear_ok_is_a_pass(
    answers: list[tuple[str, str]], outcome: Outcome, found: str
) -> None:
    row = judged("CHECK TABLE a.b", answers)
    assert (row.outcome, row.found) == (outcome, found)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "  -- why\n# and how\n/* it */ select 1;",
        "((SELECT 1) UNION (SELECT 2))",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "TABLE t",
        "VALUES ROW(1)",
    ],
)
def test_a_reading_statement_may_be_a_check(sql: str) -> None:
    require_reading(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "DELETE FROM t",
        "SELECTED",
        "/*! DELETE FROM t */",
        "/*M!100100 DELETE FROM t */",
        "/* SELECT 1 */ DROP TABLE t",
        "-- SELECT 1",
        "SET @a = (SELECT 1)",
        "CALL p()",
    ],
)
def test_any_other_statement_is_refused(sql: str) -> None:
    with pytest.raises(CheckRefused, match="cannot check"):
        require_reading(sql)
