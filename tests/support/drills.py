"""Drills as an operator runs them, and what they leave on this host."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.model.errors import DrillFailed
from holdfast.operations.drill.rooms import SOCKETS_BELOW, SOCKETS_PREFIX
from holdfast.runtime.processes_below import processes_below
from tests.support.installation import Installation


@contextmanager
def drill_folder(installation: Installation) -> Iterator[Path]:
    """A folder for the rooms of the installation's drills; none may be left in it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="hfd-"))
    # A server that root starts runs as another user, who must get to its room.
    folder.chmod(0o755)
    installation.job["drill"] = {"folder": str(folder / "rooms")}
    try:
        yield folder / "rooms"
        assert left_in(folder / "rooms") == []
    finally:
        shutil.rmtree(folder)


def left_in(folder: Path) -> list[str]:
    """The rooms, sockets and processes that drills left."""
    if not folder.exists():
        return []
    rooms = [str(path.relative_to(folder)) for path in folder.glob("*/*")]
    sockets = [str(path) for path in SOCKETS_BELOW.glob(f"{SOCKETS_PREFIX}*")]
    return [*rooms, *sockets, *(str(pid) for pid in processes_below(folder))]


OF_THE_CALL = ("kept", "missed")


def failed(installation: Installation, *arguments: str) -> dict[str, Any]:
    """The one drill of a call, which must fail, and whose record must be kept."""
    document = installation.run("drill", "shop", *arguments, code=DrillFailed.exit_code)
    (drill,) = document["drills"]
    kept = installation.run("drills", "shop")["drills"][0]
    # What only this call can tell: a server that it left, and goals that the configuration sets.
    assert kept == {name: value for name, value in drill.items() if name not in OF_THE_CALL}
    assert drill["outcome"] == "failed"
    return dict(drill)


def bad_rows(drill: dict[str, Any]) -> list[str]:
    """The names of the proofs that failed."""
    return [row["name"] for row in drill["rows"] if row["outcome"] == "failed"]


def count_one_row_less(installation: Installation, table: str) -> None:
    """Have the manifest count one row less of a table."""

    def change(part: dict[str, Any]) -> None:
        for piece in [part, *part.get("members", [])]:
            if (piece.get("relation") or {}).get("name") == table and piece.get("rows"):
                piece["rows"] -= 1

    changed_manifest(installation, change)


def changed_manifest(
    installation: Installation, change: Callable[[dict[str, Any]], object]
) -> None:
    """Write the manifest as an attacker would who may write to the repository."""
    (path,) = installation.repository.glob("shop/*/manifest.json")
    document = json.loads(path.read_text())
    for part in document["manifest"]["parts"]:
        change(part)
    body = json.dumps(
        document["manifest"], ensure_ascii=False, separators=(",", ":"), sort_keys=True
    )
    document["sha256"] = hashlib.sha256(body.encode()).hexdigest()
    path.chmod(0o600)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def killed_at(installation: Installation, failpoint: str) -> None:
    """A drill that is killed at a failpoint, as by a power cut."""
    done = subprocess.run(
        installation.argv("drill", "shop"),
        env=os.environ | {"HOLDFAST_FAILPOINT": failpoint},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
