"""Versions of installed packages, by the names of the folders that installers write beside them.

`importlib.metadata` takes 10 ms to load, of a short command that has a hundred.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import holdfast

_ENDING = ".dist-info"


def installed_version() -> str:
    """The version of holdfast; a source tree that nobody installed has none."""
    beside = Path(holdfast.__file__).parent.parent
    # A clone that is installed in place has its folder elsewhere.
    folders = [beside, *(Path(each) for each in sys.path if each)]
    found = (_named_in(each, "holdfast") for each in folders)
    return next(filter(None, found), "") or _by_metadata()


def tell_versions(packages: Sequence[str]) -> None:
    """Give each package its module `version`, which would ask `importlib.metadata` when loaded.

    A package that is loaded already, or whose version is not found, is left alone.
    """
    from importlib.util import find_spec

    for package in packages:
        spec = None if package in sys.modules else find_spec(package)
        if spec is not None and spec.origin is not None:
            found = _named_in(Path(spec.origin).parent.parent, package)
            if found:
                module = ModuleType(f"{package}.version")
                vars(module)["__version__"] = found
                sys.modules[module.__name__] = module


def _named_in(folder: Path, name: str) -> str:
    """The version of a package in the name of the one folder about it; else empty."""
    try:
        names = [each for each in os.listdir(folder) if each.startswith(f"{name}-")]
    except OSError:
        return ""
    found = [each[len(name) + 1 : -len(_ENDING)] for each in names if each.endswith(_ENDING)]
    # An interrupted upgrade leaves two: then the files inside decide.
    return found[0] if len(found) == 1 else ""


def _by_metadata() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("holdfast")
    except PackageNotFoundError:
        return "unknown"
