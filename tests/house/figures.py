"""The size of the code in figures: `python -m tests.house.figures [PROJECT]`, of any version."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median, quantiles

PACKAGE = "holdfast"
POSITIONAL = 3


def trees(project: Path) -> dict[str, tuple[ast.Module, int]]:
    """The syntax tree and line count of each module."""
    source = project / "src"
    found = {}
    for path in sorted((source / PACKAGE).rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text()
        found[name] = ast.parse(text), len(text.splitlines())
    return found


# It stands for `dataclasses.dataclass` and does the same: nobody has to look it up.
STAND_IN = f"{PACKAGE}.model.lazy_dataclass"


def imports(tree: ast.Module) -> Iterator[ast.ImportFrom]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.module == STAND_IN:
            continue
        if str(node.module).split(".")[0] == PACKAGE:
            yield node


def graph(found: dict[str, tuple[ast.Module, int]]) -> dict[str, set[str]]:
    """Which modules each module imports."""
    arrows: dict[str, set[str]] = {}
    for name, (tree, _) in found.items():
        asked = arrows[name] = set()
        for node in imports(tree):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                asked.add(full if full in found else str(node.module))
    return arrows


def room(module: str) -> str:
    """The folder of a module, or the module's own name at the top."""
    parts = module.split(".")
    return ".".join(parts[1:-1]) or parts[-1]


def between_rooms(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """The imports between the rooms at the top of the package."""
    rooms: defaultdict[str, set[str]] = defaultdict(set)
    for name, asked in arrows.items():
        here = name.split(".")[1:2]
        for other in asked:
            there = other.split(".")[1:2]
            if here and there and here != there:
                rooms[here[0]].add(there[0])
    return rooms


def circles(rooms: dict[str, set[str]]) -> int:
    """The number of rooms that import themselves through others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = list(rooms.get(start, ()))
        while ahead:
            each = ahead.pop()
            if each not in seen:
                seen.add(each)
                ahead += rooms.get(each, ())
        return seen

    return sum(each in reached(each) for each in rooms)


def functions(found: dict[str, tuple[ast.Module, int]]) -> Iterator[ast.FunctionDef]:
    for tree, _ in found.values():
        yield from (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef))


def positional(function: ast.FunctionDef) -> int:
    """The number of positional parameters, without `self` and `cls`."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    return len([each for each in arguments if each.arg not in ("self", "cls")])


def middle_and_most(sizes: Sequence[int]) -> tuple[float, float]:
    return median(sizes), quantiles(sizes, n=10)[-1]


def figures(project: Path) -> dict[str, float]:
    found = trees(project)
    lines = {name: size for name, (_, size) in found.items()}
    stated = sum(len(list(imports(tree))) for tree, _ in found.values())
    rooms = between_rooms(graph(found))
    tops = {name.split(".")[1] for name in found if "." in name}
    modules = middle_and_most([each for each in lines.values() if each > 1])
    written = middle_and_most(
        [(each.end_lineno or each.lineno) - each.lineno + 1 for each in functions(found)]
    )
    return {
        "modules": len(found),
        "lines": sum(lines.values()),
        "rooms at the top level": len(tops),
        "folders": len({room(name) for name in found if "." in name}),
        "arrows between rooms at the top level": sum(map(len, rooms.values())),
        "rooms at the top level in a circle": circles(rooms),
        "imports of our own per 1,000 lines": 1000 * stated / sum(lines.values()),
        "lines of a module, median": modules[0],
        "lines of a module, p90": modules[1],
        "lines of a function, median": written[0],
        "lines of a function, p90": written[1],
        f"functions with more than {POSITIONAL} positional parameters": sum(
            positional(each) > POSITIONAL for each in functions(found)
        ),
    }


if __name__ == "__main__":
    told = figures(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    width = max(map(len, told))
    sys.stdout.writelines(
        f"{name:<{width}}  {round(value, 1):>8,g}\n" for name, value in told.items()
    )
