"""Store listings are validated in one place: no driver returns them unchecked."""

from __future__ import annotations

import ast

from tests.house.project import called, calls_in, functions_in, modules

REPOSITORIES = "repositories/"
WRAPPER = "ForwardingRepository"


def test_every_list_is_believed_or_that_of_another_repository() -> None:
    listing = {
        f"{name}: {each.name}": (each, method)
        for name, tree in modules().items()
        if name.startswith(REPOSITORIES)
        for each in ast.walk(tree)
        if isinstance(each, ast.ClassDef)
        for method in functions_in(each)
        if method.name == "list"
    }
    drivers = {name.partition(":")[0] for name, (each, _) in listing.items() if not wraps(each)}
    assert drivers >= {f"{REPOSITORIES}{name}.py" for name in ("local", "object_store", "sftp")}
    handing_on = [
        name
        for name, (each, method) in listing.items()
        if ("list" if wraps(each) else "believed") not in map(called, calls_in(method))
    ]
    assert handing_on == [], "they hand on what a store told"


def wraps(each: ast.ClassDef) -> bool:
    return WRAPPER in map(ast.unparse, each.bases)
