"""The version of holdfast, by the name of the folder that installers write beside it.

`importlib.metadata` takes 10 ms to load, of a short command that has a hundred.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import holdfast

_ENDING = ".dist-info"


def installed_version() -> str:
    """The version of holdfast; a source tree that nobody installed has none."""
    beside = Path(holdfast.__file__).parent.parent
    # A clone that is installed in place has its folder elsewhere.
    folders = [beside, *(Path(each) for each in sys.path if each)]
    found = (_named_in(each, "holdfast") for each in folders)
    return next(filter(None, found), "") or _by_metadata()


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
