"""The project as the rules of the house read it: every module of the package is parsed once."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

from lab.project import GIT

PROJECT = Path(__file__).resolve().parents[2]
SOURCE = PROJECT / "src/holdfast"
# Read at import: unit tests of the same run see a PATH without git.
TRACKED = [
    PROJECT / name
    for name in subprocess.run(
        [*GIT, "ls-files", "-z"], check=True, capture_output=True, text=True
    ).stdout.split("\0")
    if name
]


def name_of(path: Path, *, below: Path = PROJECT) -> str:
    return str(path.relative_to(below))


def python_files(*folders: str) -> list[Path]:
    """All Python files in these folders of the project."""
    return sorted(path for folder in folders for path in (PROJECT / folder).rglob("*.py"))


@cache
def modules() -> dict[str, ast.Module]:
    """The package, by path below `src/holdfast`."""
    return {
        name_of(path, below=SOURCE): ast.parse(path.read_text())
        for path in python_files("src/holdfast")
    }


def calls_in(node: ast.AST) -> list[ast.Call]:
    return [each for each in ast.walk(node) if isinstance(each, ast.Call)]


def called(call: ast.Call) -> str:
    """The last name of the called function or method."""
    return getattr(call.func, "attr", "") or getattr(call.func, "id", "")


def functions_in(node: ast.AST) -> list[ast.FunctionDef]:
    return [each for each in ast.walk(node) if isinstance(each, ast.FunctionDef)]
