"""The blocks of docs/restore-emergency.md, executed as a reader copies them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.installation import Installation

PAGE = Path(__file__).resolve().parents[2] / "docs" / "restore-emergency.md"
BLOCK = re.compile(r"^(Set:\n\n)?```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETS = re.compile(r"^(?P<export>export )?(?P<name>[a-z_]+)=.*$", re.MULTILINE)
# Test hosts have no network; their images contain the package that this installs.
INSTALLS = "apt-get install "


def follow(*steps: str, values: Mapping[str, str]) -> str:
    """The output of these steps' blocks, run in one shell, with the page's values replaced.

    A step is named by the beginning of its heading. `values` must hold exactly the values that the
    page asks for.
    """
    asked: set[str] = set()
    script = ["set -u"]
    for step in steps:
        for is_set, block in _blocks(step):
            if is_set:
                asked |= {found["name"] for found in SETS.finditer(block)}
                script.append(SETS.sub(lambda found: _assigned(found, values), block))
            elif not block.startswith(INSTALLS):
                script.append(block)
    assert asked == set(values)
    done = subprocess.run(
        ["bash"],
        input="\n".join(script),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def stored(installation: Installation) -> dict[str, str]:
    """The values of step 7: the place of the only backup, and the identity."""
    (manifest,) = installation.repository.glob("shop/*/manifest.json")
    return {
        "repository": str(installation.repository),
        "backup": str(manifest.parent.relative_to(installation.repository)),
        "identity": str(installation.folder / "identity"),
    }


def _blocks(step: str) -> Iterator[tuple[bool, str]]:
    sections = re.split(r"^#{2,3} ", PAGE.read_text(), flags=re.MULTILINE)
    (section,) = [each for each in sections if each.startswith(step)]
    for found in BLOCK.finditer(section):
        yield found[1] is not None, found[2]


def _assigned(found: re.Match[str], values: Mapping[str, str]) -> str:
    quoted = "'" + values[found["name"]].replace("'", "'\\''") + "'"
    return f"{found['export'] or ''}{found['name']}={quoted}"
