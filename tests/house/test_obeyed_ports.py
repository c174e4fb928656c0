"""A port that a docstring claims to obey exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
OBEYS = re.compile(r"[Oo]beys\s+`([\w.]+)\.(\w+)`(?:\s+and\s+`([\w.]+)\.(\w+)`)?")


def named() -> dict[str, set[str]]:
    """The classes and values of each module of the package and of the tests' support."""
    return {
        ".".join(path.relative_to(PROJECT).with_suffix("").parts): set(names(path))
        for folder in ("src/holdfast", "tests/support")
        for path in (PROJECT / folder).rglob("*.py")
    }


def names(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (each.id for each in node.targets if isinstance(each, ast.Name))


def obeyed(text: str) -> set[tuple[str, str]]:
    """The modules and names that a text claims to obey."""
    found = set()
    for first, one, second, other in OBEYS.findall(text):
        found |= {(first, one), (second, other)} - {("", "")}
    return found


def test_every_port_that_is_obeyed_is_where_it_is_said_to_be() -> None:
    known = named()
    wrong = [
        f"{path.relative_to(PROJECT)}: {module}.{name}"
        for folder in ("src", "tests", "benchmarks", "lab")
        for path in sorted((PROJECT / folder).rglob("*.py"))
        if path != Path(__file__)
        for module, name in sorted(obeyed(path.read_text()))
        if not any(
            name in there for place, there in known.items() if f".{place}".endswith(f".{module}")
        )
    ]
    assert wrong == []


def test_one_or_two_ports_are_read_from_a_docstring() -> None:
    text = "Obeys `ports.run.Guard`; it obeys\n    `a.b.C` and `d.E` besides."
    assert obeyed(text) == {("ports.run", "Guard"), ("a.b", "C"), ("d", "E")}
