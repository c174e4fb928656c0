"""A clean-up never replaces the error it follows: `holdfast.runtime.cleanup` is the one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.house.project import calls_in, modules

CLEANUP = "runtime/cleanup.py"
# The clean-ups outside of it, and why they can neither raise nor hide an error.
ALLOWED = {
    # Releasing a semaphore cannot fail, and the caller waits for nothing else.
    ("runtime/thread_bridge.py", "self._our_turn.release()"),
    # It checks whether damage caused the error; if so, the damage is the error to report.
    ("model/restore.py", "streamed.prove()"),
}
# These replace an error by their own if they fail; `afterwards` and `on_failure` do not.
FORBIDDEN_CALLS = {"closing", "contextlib.closing"}


def test_clean_up_never_replaces_a_cause() -> None:
    found = {
        (name, cleanup)
        for name, tree in modules().items()
        if name != CLEANUP
        for cleanup in bare_cleanups(tree)
    }
    assert found == ALLOWED


def bare_cleanups(tree: ast.AST) -> Iterator[str]:
    """Calls that may raise while another error is being handled."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            for statement in node.finalbody:
                yield from (ast.unparse(call) for call in calls_in(statement))
            for handler in node.handlers:
                yield from of_handler(handler)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in FORBIDDEN_CALLS:
            yield ast.unparse(node)
        elif isinstance(node, ast.FunctionDef) and node.name in ("__exit__", "__aexit__"):
            yield from of_exit(node)


def of_handler(handler: ast.ExceptHandler) -> Iterator[str]:
    """The calls for effect in a handler that then raises the same error again."""
    ahead: list[str] = []
    for statement in handler.body:
        if any(raises_again(each, handler) for each in ast.walk(statement)):
            yield from ahead
            ahead = []
        elif not (isinstance(statement, ast.With) and is_guarded(statement)):
            effects = [each for each in ast.walk(statement) if isinstance(each, ast.Expr)]
            ahead += [ast.unparse(call) for each in effects for call in calls_in(each)]


def raises_again(node: ast.AST, handler: ast.ExceptHandler) -> bool:
    if not isinstance(node, ast.Raise):
        return False
    return node.exc is None or (isinstance(node.exc, ast.Name) and node.exc.id == handler.name)


def of_exit(method: ast.FunctionDef) -> Iterator[str]:
    """A context manager's exit may do nothing unguarded except release and join."""
    for statement in method.body:
        for call in calls_in(statement):
            said = ast.unparse(call)
            if not said.endswith((".release()", ".join()")):
                yield said


def is_guarded(statement: ast.With) -> bool:
    entered = [each.context_expr for each in statement.items]
    return any(
        isinstance(each, ast.Call) and ast.unparse(each.func) == "noted_on" for each in entered
    )


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    work()\nfinally:\n    os.close(descriptor)",
        "try:\n    work()\nfinally:\n    if opened:\n        opened.close()",
        "try:\n    work()\nexcept BaseException:\n    os.close(descriptor)\n    raise",
        "try:\n    work()\nexcept OSError as error:\n    end()\n    raise error",
        "try:\n    work()\nexcept A:\n    with suppress(B):\n        end()\n    raise",
        "with closing(stream):\n    work()",
        "class It:\n    def __exit__(self, *_):\n        self.file.close()",
    ],
)
def test_every_way_to_replace_a_cause_is_seen(code: str) -> None:
    assert list(bare_cleanups(ast.parse(code))) != []


@pytest.mark.parametrize(
    "code",
    [
        "with afterwards(os.close, descriptor):\n    work()",
        "try:\n    work()\nexcept A as error:\n    with noted_on(error):\n        end()\n    raise",
        "try:\n    work()\nexcept OSError as error:\n    raise translated(error) from error",
        "try:\n    work()\nexcept OSError:\n    end()",
        "try:\n    work()\nexcept OSError:\n    if no_other_way:\n        raise\n    go_on()",
        "try:\n    work()\nfinally:\n    self.done = True",
    ],
)
def test_what_replaces_nothing_is_left_alone(code: str) -> None:
    assert list(bare_cleanups(ast.parse(code))) == []
