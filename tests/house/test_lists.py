"""What a store lists is believed in one place: no driver hands on what it was told."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORIES = Path(__file__).resolve().parents[2] / "src/holdfast/repositories"
DRIVERS = ("local.py", "object_store.py", "sftp.py")


def list_methods(tree: ast.AST) -> list[ast.FunctionDef]:
    return [
        each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.name == "list"
    ]


def called(method: ast.FunctionDef) -> set[str]:
    calls = [each.func for each in ast.walk(method) if isinstance(each, ast.Call)]
    return {func.id for func in calls if isinstance(func, ast.Name)} | {
        func.attr for func in calls if isinstance(func, ast.Attribute)
    }


@pytest.mark.parametrize("path", sorted(REPOSITORIES.glob("*.py")), ids=lambda path: path.name)
def test_every_list_is_believed_or_that_of_another_repository(path: Path) -> None:
    methods = list_methods(ast.parse(path.read_text()))
    assert bool(methods) or path.name not in DRIVERS
    for method in methods:
        expected = "believed" if path.name in DRIVERS else "list"
        assert expected in called(method), f"{path.name} hands on what a store told"
