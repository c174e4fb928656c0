"""Which version of holdfast is installed."""

from __future__ import annotations

import os
from pathlib import Path

import holdfast

_ENDING = ".dist-info"


def installed_version() -> str:
    """The version of holdfast; a source tree that nobody installed has none."""
    return _beside_package() or _by_metadata()


def _beside_package() -> str:
    """The version in the name of the folder that an installer writes beside the package.

    `importlib.metadata` takes 10 ms to load, of a short command that has a hundred.
    """
    folder = Path(holdfast.__file__).parent.parent
    found = [name for name in os.listdir(folder) if name.startswith("holdfast-")]
    versions = [name[len("holdfast-") : -len(_ENDING)] for name in found if name.endswith(_ENDING)]
    # An interrupted upgrade leaves two: then the files inside decide.
    return versions[0] if len(versions) == 1 else ""


def _by_metadata() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("holdfast")
    except PackageNotFoundError:
        return "unknown"
