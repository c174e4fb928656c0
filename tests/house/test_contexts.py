"""What a command works with has eight fields at most: a reader can keep no more in mind."""

from __future__ import annotations

import ast

from tests.house.project import PROJECT

MOST_FIELDS = 8
ROOMS = ("operations", "wiring")
# A report is only shown, field by field: no code works with it.
TOLD = ("Report", "Status")


def fields_of(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(each.target) for each in node.body if isinstance(each, ast.AnnAssign)]


def is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(each) for each in node.decorator_list)


def test_nobody_works_with_more_than_eight_things() -> None:
    found = {
        f"{path.relative_to(PROJECT)} {node.name}": len(fields_of(node))
        for room in ROOMS
        for path in (PROJECT / "src/holdfast" / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and is_dataclass(node) and not node.name.endswith(TOLD)
    }
    assert len(found) > 20
    assert {name: count for name, count in found.items() if count > MOST_FIELDS} == {}
