"""One place starts threads: a refused one is `TasksRefused`, and a worker pool tries again."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.house.project import called, calls_in, modules

# Where a thread is started, and what becomes of its refusal.
ALLOWED = {
    # Translated.
    "runtime/kernel.py",
    # Translated, after its program was ended: that must not run without the thread.
    "runtime/process.py",
    # Told to the client, which has its place back.
    "daemon/listener.py",
}


def test_threads_are_started_in_one_place() -> None:
    assert {name for name, tree in modules().items() if list(starts(tree))} == ALLOWED


def starts(tree: ast.Module) -> Iterator[str]:
    """The calls of `start` in a module that uses `threading`."""
    imports = [each for each in ast.walk(tree) if isinstance(each, ast.Import)]
    if "threading" not in {name.name for each in imports for name in each.names}:
        return
    for call in calls_in(tree):
        if isinstance(call.func, ast.Attribute) and called(call) == "start" and not call.args:
            yield ast.unparse(call)


@pytest.mark.parametrize(
    "code",
    [
        "import threading\nthreading.Thread(target=run).start()",
        "import threading\ntimer = threading.Timer(1, end)\ntimer.start()",
    ],
)
def test_every_start_is_seen(code: str) -> None:
    assert list(starts(ast.parse(code))) != []


def test_the_start_of_a_match_is_none() -> None:
    assert list(starts(ast.parse("import re\nfound.start()"))) == []
