"""How the console scripts of the project are started from a tree that is not installed."""

from __future__ import annotations

import shlex
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def arguments_of(script: str) -> list[str]:
    """Arguments of Python that do what the installed console script would do."""
    module, _, function = str(_project()["scripts"][script]).partition(":")
    return ["-c", f"import sys; from {module} import {function}; sys.exit({function}())"]


def holdfast_command() -> str:
    """`holdfast` as a command line for a shell on a measured host."""
    return shlex.join(["python", *arguments_of("holdfast")])


def holdfast_here(config: str, *arguments: str) -> list[str]:
    """`holdfast` by this very interpreter."""
    return [sys.executable, *arguments_of("holdfast"), "--config", config, *arguments]


def project_version() -> str:
    """The version that the package declares."""
    return str(_project()["version"])


def _project() -> Mapping[str, Any]:
    declared: Mapping[str, Any] = tomllib.loads(PYPROJECT.read_text())["project"]
    return declared
