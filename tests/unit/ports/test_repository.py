"""One base class forwards the whole port; a wrapper defines only what it changes."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.ports.repository import ForwardingRepository, Repository

SOURCE = Path(holdfast.__file__).parent
METHODS = {
    name: each
    for name, each in vars(Repository).items()
    if inspect.isfunction(each) and not name.startswith("_")
}


class Recorder:
    """Records its calls, and returns values of its own."""

    def __init__(self) -> None:
        self.called: list[tuple[str, tuple[object, ...]]] = []
        self.answer = object()

    def __getattr__(self, name: str) -> Callable[..., object]:
        def called(*arguments: object) -> object:
            self.called.append((name, arguments))
            return self.answer

        return called


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_port_is_forwarded_with_its_arguments_and_its_answer(name: str) -> None:
    recorder: Any = Recorder()
    arguments = tuple(object() for _ in list(inspect.signature(METHODS[name]).parameters)[1:])
    answer = getattr(ForwardingRepository(recorder), name)(*arguments)
    assert recorder.called == [(name, arguments)]
    returns_nothing = inspect.signature(METHODS[name]).return_annotation == "None"
    assert answer is (None if returns_nothing else recorder.answer)


def test_no_wrapper_repeats_what_the_base_forwards() -> None:
    repeated = [
        f"{path.relative_to(SOURCE)}: {each.name}.{name}"
        for path in SOURCE.rglob("*.py")
        if "def free_bytes(" in (text := path.read_text()) or "ForwardingRepository" in text
        for each in ast.walk(ast.parse(text))
        if isinstance(each, ast.ClassDef) and each.name != ForwardingRepository.__name__
        for name in _forwarded(each)
    ]
    assert repeated == []


def test_a_method_that_only_forwards_is_found() -> None:
    source = "class W:\n    def stat(self, key):\n        return self._inner.stat(key)\n"
    (written,) = ast.parse(source).body
    assert isinstance(written, ast.ClassDef)
    assert list(_forwarded(written)) == ["stat"]


def _forwarded(written: ast.ClassDef) -> Iterator[str]:
    """Methods of the port that only make the same call of one thing that is wrapped.

    Where a property chooses among several, the choice is what the method is there for.
    """
    methods = {each.name: each for each in written.body if isinstance(each, ast.FunctionDef)}
    for name in METHODS.keys() & methods.keys():
        call = _only_call(methods[name])
        if call is None or not isinstance(call.func, ast.Attribute) or call.keywords:
            continue
        given = [ast.unparse(argument) for argument in call.args]
        taken = [argument.arg for argument in methods[name].args.args[1:]]
        wrapped = ast.unparse(call.func.value).removeprefix("self.")
        if call.func.attr == name and given == taken and wrapped not in methods:
            yield name


def _only_call(method: ast.FunctionDef) -> ast.Call | None:
    """The call that is all of a method, but for its docstring."""
    *before, last = method.body
    value = last.value if isinstance(last, ast.Expr | ast.Return) else None
    is_all = not before or (len(before) == 1 and ast.get_docstring(method) is not None)
    return value if is_all and isinstance(value, ast.Call) else None
