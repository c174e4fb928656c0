"""An interruption is no error: it passes every handler of errors, and few places may stop it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from holdfast.model.errors import HoldfastError, Interrupted
from tests.house.project import called, calls_in, modules

CATCHING = {"Interrupted", "Ended", "Reported", "KeyboardInterrupt", "BaseException"}
# Where an interruption may be caught without being raised again at once, and why.
ALLOWED = {
    # Ends the work in progress, waits for it, and raises the interruption then.
    ("runtime/worker_pool.py", "BaseException"),
    ("runtime/worker_pool.py", "(KeyboardInterrupt, Interrupted)"),
    # Ends all other work first, and raises it then.
    ("runtime/cleanup.py", "Interrupted"),
    # These run in a thread, and their caller raises what they caught.
    ("runtime/thread_bridge.py", "BaseException"),
    ("operations/parts/mirrored.py", "BaseException"),
    # Its class tells a store's error from the source's; the caller raises the source's own.
    ("repositories/sftp.py", "BaseException"),
    # The watchdog itself interrupted the block, and says why.
    ("operations/backup/attempt.py", "Ended"),
    # Raises all but an OSError again.
    ("sources/postgres/files/source.py", "BaseException"),
    # An interruption is the normal end of `wal receive`.
    ("cli/wal.py", "Interrupted"),
    # The outermost frame: reported with its exit code.
    ("cli/invocation.py", "Reported"),
}


def test_an_interruption_is_no_error() -> None:
    assert not issubclass(Interrupted, Exception)
    assert not issubclass(Interrupted, HoldfastError)


def test_few_places_stop_an_interruption() -> None:
    found = {(name, types) for name, tree in modules().items() for types in stopping(tree)}
    assert found == ALLOWED


def test_no_handler_exists_only_to_raise_an_interruption_again() -> None:
    found = [name for name, tree in modules().items() if list(detours(tree))]
    assert found == [], "needless: an interruption is no HoldfastError"


def stopping(tree: ast.AST) -> Iterator[str]:
    """What handlers catch that may stop an interruption."""
    for handler in handlers_in(tree):
        if not types_of(handler) & CATCHING:
            continue
        last = handler.body[-1]
        is_same = isinstance(last, ast.Raise) and (
            last.exc is None or (isinstance(last.exc, ast.Name) and last.exc.id == handler.name)
        )
        if not is_same:
            yield ast.unparse(handler.type) if handler.type else "BaseException"
    for call in calls_in(tree):
        if called(call) == "suppress" and names_in(*call.args) & CATCHING:
            yield ast.unparse(call)


def detours(tree: ast.AST) -> Iterator[ast.ExceptHandler]:
    """Handlers of the old shape: `except Interrupted: raise` ahead of `except HoldfastError`."""
    for handler in handlers_in(tree):
        only_raises = len(handler.body) == 1 and isinstance(handler.body[0], ast.Raise)
        if "Interrupted" in types_of(handler) and only_raises:
            yield handler


def handlers_in(tree: ast.AST) -> Iterator[ast.ExceptHandler]:
    return (each for each in ast.walk(tree) if isinstance(each, ast.ExceptHandler))


def types_of(handler: ast.ExceptHandler) -> set[str]:
    return names_in(handler.type) if handler.type else {"BaseException"}


def names_in(*nodes: ast.AST) -> set[str]:
    """The last names in expressions that name classes."""
    each = [inner for node in nodes for inner in ast.walk(node)]
    return {node.id for node in each if isinstance(node, ast.Name)} | {
        node.attr for node in each if isinstance(node, ast.Attribute)
    }


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    work()\nexcept BaseException:\n    go_on()",
        "try:\n    work()\nexcept:\n    go_on()",
        "try:\n    work()\nexcept (OSError, errors.Interrupted):\n    go_on()",
        "try:\n    work()\nexcept Reported as error:\n    raise Other from error",
        "with suppress(Interrupted):\n    work()",
    ],
)
def test_every_way_to_stop_one_is_seen(code: str) -> None:
    assert list(stopping(ast.parse(code))) != []


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    work()\nexcept BaseException as error:\n    note(error)\n    raise",
        "try:\n    work()\nexcept HoldfastError:\n    go_on()",
        "with suppress(HoldfastError):\n    work()",
    ],
)
def test_what_lets_it_pass_is_left_alone(code: str) -> None:
    assert list(stopping(ast.parse(code))) == []


def test_the_old_shape_is_seen() -> None:
    code = "try:\n    work()\nexcept (Interrupted, A):\n    raise\nexcept B:\n    go_on()"
    assert list(detours(ast.parse(code))) != []
