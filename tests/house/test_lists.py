"""What a store lists is believed in one place: no driver hands on what it was told."""

from __future__ import annotations

from tests.house.project import called, calls_in, functions_in, modules

REPOSITORIES = "repositories/"
DRIVERS = {"local.py", "object_store.py", "sftp.py"}


def test_every_list_is_believed_or_that_of_another_repository() -> None:
    methods = {
        name.removeprefix(REPOSITORIES): [
            each for each in functions_in(tree) if each.name == "list"
        ]
        for name, tree in modules().items()
        if name.startswith(REPOSITORIES)
    }
    assert [name for name in DRIVERS if not methods[name]] == [], "drivers that list nothing"
    handing_on = [
        name
        for name, found in methods.items()
        for method in found
        if ("believed" if name in DRIVERS else "list") not in map(called, calls_in(method))
    ]
    assert handing_on == [], "they hand on what a store told"
