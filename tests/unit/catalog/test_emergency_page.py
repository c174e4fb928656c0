"""docs/restore-emergency.md calls only those backups intact whose files it has compared."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.emergency_page import follow

PREPARE = "7. Prepare"
INTACT = "all files are intact"


def backup(repository: Path, name: str, *, recorded: bytes) -> dict[str, str]:
    """A backup of one file, whose manifest records the fingerprint of `recorded`."""
    (repository / "shop" / name).mkdir(parents=True)
    (repository / "shop" / name / "part").write_bytes(b"rows")
    part = {
        "key": f"shop/{name}/part",
        "stored_fingerprint": f"sha256:{sha256(recorded).hexdigest()}",
    }
    body = {"server": {"kind": "postgres"}, "snapshot_at": "", "parts": [part], "blobs": []}
    manifest = repository / "shop" / name / "manifest.json"
    manifest.write_text(json.dumps({"manifest": body}))
    return {"repository": str(repository), "backup": f"shop/{name}", "identity": "/none"}


def test_a_damaged_backup_does_not_spoil_the_older_one_that_is_taken_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setenv("PATH", f"{tools(tmp_path, work)}:/usr/bin:/bin")
    damaged = backup(tmp_path / "repository", "newer", recorded=b"other rows")
    with pytest.raises(AssertionError, match="FAILED"):
        follow(PREPARE, values=damaged)
    # `mktemp` gives the folder of before, as in a shell where only the name was set again.
    whole = backup(tmp_path / "repository", "older", recorded=b"rows")
    assert INTACT in follow(PREPARE, values=whole)


def test_a_backup_without_a_readable_manifest_is_not_called_intact(tmp_path: Path) -> None:
    values = backup(tmp_path / "repository", "cut", recorded=b"rows")
    (tmp_path / "repository" / "shop" / "cut" / "manifest.json").write_text('{"manifest": {')
    with pytest.raises(AssertionError) as raised:
        follow(PREPARE, values=values)
    assert INTACT not in str(raised.value)


def tools(folder: Path, work: Path) -> Path:
    """A folder with a `mktemp` that always makes `work`."""
    (folder / "tools").mkdir()
    mktemp = folder / "tools" / "mktemp"
    mktemp.write_text(f"#!/bin/sh\necho '{work}'\n")
    mktemp.chmod(0o755)
    return folder / "tools"
