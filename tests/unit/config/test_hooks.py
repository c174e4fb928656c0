"""Hooks in the configuration are lists of arguments, never shell commands."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.configs import JOB, job, refused


def hooks(text: str) -> str:
    return f"{JOB}    hooks: {text}\n"


def test_a_hook_is_a_list_or_a_mapping_with_its_own_timeout(tmp_path: Path) -> None:
    found = job(
        tmp_path, hooks("{before: [[/bin/a, b], {run: [/bin/c], timeout: 5m}], failed: [[/bin/d]]}")
    ).hooks
    assert [(each.run, each.timeout) for each in found.before] == [
        (("/bin/a", "b"), timedelta(minutes=1)),
        (("/bin/c",), timedelta(minutes=5)),
    ]
    assert found.after == ()
    assert found.failed[0].run == ("/bin/d",)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{before: [rm -rf /]}", "'rm -rf /' is not a list of arguments", "no shell"),
        ("{before: [[pause]]}", "'pause' is not an absolute path", "begin it with /"),
        ("{before: [{run: [/bin/a], time: 5m}]}", "unknown key", "timeout"),
        ("{after: [[]]}", "at least 1 item", ""),
        ("{after: [[/bin/a, 5]]}", "must be text, not 5", "quotes"),
        ("{during: [[/bin/a]]}", "unknown key", "after, before, failed"),
    ],
)
def test_what_is_no_hook_is_explained_where_it_stands(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    told, hinted = refused(tmp_path, hooks(text))
    assert "line 7: jobs.shop.hooks" in told
    assert message in told
    assert hint in hinted
