"""Filters over the drills of `playbooks/drill.yml`: a table, and what failed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

HEADINGS = ("HOST", "JOB", "DATABASE", "OUTCOME", "RESTORED IN", "AS OF", "PROBLEM")
# One name a line: ansible-doc warns of others.
PASSED = "passed"
FAILED = "failed"
SKIPPED = "skipped"
# The runner's own exit code for a job whose drill is already under way.
UNDER_WAY = 40
Row = tuple[str, ...]
Answers = Mapping[str, Sequence[Mapping[str, Any]]]
"""For each host, the results of `holdfast drill JOB --json`, whose `item` is the job."""


def drill_rows(answers: Answers) -> list[Row]:
    """One row for each drill, and for each job whose drill made no record."""
    return [row for host, results in answers.items() for each in results for row in _of(host, each)]


def drill_table(answers: Answers) -> list[str]:
    """The rows below their headings, in columns."""
    rows = [HEADINGS, *drill_rows(answers)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def failed_drills(answers: Answers) -> list[str]:
    """What failed, as the end of a message: `db1: shop`."""
    failed = [row for row in drill_rows(answers) if row[3] == FAILED]
    return list(dict.fromkeys(f"{host}: {job}" for host, job, *_unused in failed))


def _of(host: str, result: Mapping[str, Any]) -> Iterable[Row]:
    job = str(result["item"])
    try:
        answer = json.loads(result.get("stdout") or "")
    except ValueError:
        answer = {}
    if "drills" not in answer:
        outcome = SKIPPED if answer.get("exit_code") == UNDER_WAY else FAILED
        yield (host, job, "", outcome, "", "", answer.get("error") or _silence(result))
        return
    for drill in answer["drills"]:
        yield (
            host,
            job,
            drill["database"],
            drill["outcome"],
            f"{drill['restore_seconds']:.1f} s" if drill["outcome"] == PASSED else "",
            drill["reached"] or "",
            drill["problem"] or "",
        )
    for database in answer["left"]:
        yield (host, job, database, SKIPPED, "", "", "the budget was too short")


def _silence(result: Mapping[str, Any]) -> str:
    """Why there is no answer."""
    said = str(result.get("stderr") or result.get("msg") or "").strip().splitlines()[-1:]
    return result.get("reason") or " ".join(said) or f"the drill ended with {result.get('rc')}"


class FilterModule:
    """The class in which Ansible finds the filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "drill_table": drill_table,
            "failed_drills": failed_drills,
        }
