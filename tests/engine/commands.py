"""The command line in this process, without the start-up time of a program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from holdfast.cli.invocation import run

DONE = 0


class Commands:
    """One job `odd`, with its repository in `folder`; `capture` holds the output of the program."""

    def __init__(self, folder: Path, job: dict[str, Any], capture: Any) -> None:
        self._capture = capture
        for name in ("repository", "state"):
            (folder / name).mkdir(mode=0o700)
        settings = {
            "state_directory": str(folder / "state"),
            "repositories": {"main": {"kind": "local", "path": str(folder / "repository")}},
            "jobs": {"odd": {"repository": "main", **job}},
        }
        self._config = folder / "holdfast.yaml"
        self._config.write_text(yaml.safe_dump(settings))
        self._config.chmod(0o600)

    def run(self, *arguments: str, codes: tuple[int, ...] = (DONE,)) -> dict[str, Any]:
        ended = run(["--config", str(self._config), *arguments, "--json"])
        told = self._capture.readouterr()
        assert ended in codes, told.out + told.err
        document: dict[str, Any] = json.loads(told.out)
        return document
