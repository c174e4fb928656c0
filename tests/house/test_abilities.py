"""A class declares its abilities; no code asks an object for an attribute it may lack."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
# Only some objects of the standard library have these.
OF_THE_LIBRARY = {"sqlite_errorcode", "__notes__", "buffer", "raw"}


def switches(path: Path, protocols: set[str]) -> Iterator[str]:
    """The places that ask for an optional attribute, or test an object for a protocol."""
    for node in ast.walk(ast.parse(path.read_text())):
        at = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Name | ast.alias):
            name = node.id if isinstance(node, ast.Name) else node.name
            if name in {"runtime_checkable", "getattr_static", "callable"}:
                yield f"{at} {name}"
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        arguments = node.args
        asks = node.func.id == "hasattr" or (node.func.id == "getattr" and len(arguments) > 2)
        if asks and ast.literal_eval(arguments[1]) not in OF_THE_LIBRARY:
            yield f"{at} {node.func.id}"
        if node.func.id in {"isinstance", "issubclass"}:
            named = {each.id for each in ast.walk(arguments[1]) if isinstance(each, ast.Name)}
            yield from (f"{at} {node.func.id} of {name}" for name in sorted(named & protocols))


def protocols(paths: list[Path]) -> set[str]:
    return {
        node.name
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    }


def test_no_feature_depends_on_an_attribute_being_there() -> None:
    paths = sorted((PROJECT / "src").rglob("*.py"))
    known = protocols(paths)
    assert "Repository" in known
    assert [found for path in paths for found in switches(path, known)] == []


def test_every_such_switch_would_be_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "from typing import Protocol, runtime_checkable\n"
        "@runtime_checkable\n"
        "class Closing(Protocol):\n    def close(self): ...\n"
        "def ended(stream):\n"
        "    if isinstance(stream, Closing): stream.close()\n"
        "    if hasattr(stream, 'close'): stream.close()\n"
        "    getattr(stream, 'close', None)\n"
        "    getattr(stream, '__notes__', ())\n"
    )
    found = [each.split(":")[1] for each in switches(module, protocols([module]))]
    checks = ["1 runtime_checkable", "2 runtime_checkable", "6 isinstance of Closing"]
    assert sorted(found) == [*checks, "7 hasattr", "8 getattr"]
