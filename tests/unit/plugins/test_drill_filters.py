"""The table of drill.yml: a row for each drill, and for each job that left no record."""

from __future__ import annotations

import json
from typing import Any

from plugins.filter.holdfast_drills import drill_rows, drill_table, failed_drills


def drill(database: str, **changed: object) -> dict[str, Any]:
    passed = {"outcome": "passed", "restore_seconds": 12.34, "problem": None}
    return {"database": database, "reached": "2026-11-20T02:00:03Z", **passed, **changed}


def result(job: str, document: dict[str, Any] | None = None, **more: object) -> dict[str, Any]:
    return {"item": job, "stdout": json.dumps(document) if document else "", **more}


def report(*drills: dict[str, Any], left: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"schema": "holdfast.drill-report/1", "drills": list(drills), "left": list(left)}


BAD = drill("wiki", outcome="failed", problem="rows of public.pages: 1 instead of 2")
ANSWERS = {
    "db1": [result("shop", report(drill("shop"))), result("docs", report(BAD, left=("blog",)))],
    "db2": [
        result("shop", {"error": "cannot drill job 'shop': it runs", "exit_code": 40}),
        result("docs", {"error": "no finished backup", "exit_code": 12}),
        result("wiki", reason="namespace: No such file", rc=226),
        result("blog", stderr="one\nkilled\n", rc=9),
    ],
}


def test_every_drill_and_every_silent_job_has_a_row() -> None:
    assert drill_rows(ANSWERS) == [
        ("db1", "shop", "shop", "passed", "12.3 s", "2026-11-20T02:00:03Z", ""),
        ("db1", "docs", "wiki", "failed", "", "2026-11-20T02:00:03Z", BAD["problem"]),
        ("db1", "docs", "blog", "skipped", "", "", "the budget was too short"),
        ("db2", "shop", "", "skipped", "", "", "cannot drill job 'shop': it runs"),
        ("db2", "docs", "", "failed", "", "", "no finished backup"),
        ("db2", "wiki", "", "failed", "", "", "namespace: No such file"),
        ("db2", "blog", "", "failed", "", "", "killed"),
    ]


def test_only_what_failed_fails_the_run() -> None:
    assert failed_drills(ANSWERS) == ["db1: docs", "db2: docs", "db2: wiki", "db2: blog"]
    assert failed_drills({"db1": ANSWERS["db1"][:1], "db2": ANSWERS["db2"][:1]}) == []


def test_the_table_has_columns_of_equal_width() -> None:
    heading, first, *_ = drill_table(ANSWERS)
    assert heading.index("OUTCOME") == first.index("passed")
    assert heading.index("PROBLEM") > first.index("2026")
