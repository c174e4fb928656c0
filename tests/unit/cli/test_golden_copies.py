"""A backup of an earlier schema is copied unchanged, as its signature covers its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.golden import GoldenInstallation


@pytest.mark.parametrize("archive", ["0.1.0/postgres-17.tar", "schema-1/postgres-17.tar"])
def test_a_signed_and_sealed_backup_stays_signed_and_sealed_where_it_is_copied_to(
    tmp_path: Path, archive: str
) -> None:
    golden = GoldenInstallation(tmp_path, archive)
    golden.seal()
    golden.job_of("closed", "postgres", repository="sealed")
    stores = golden.settings["repositories"]
    (tmp_path / "offsite").mkdir(mode=0o700)
    stores["offsite"] = stores["sealed"] | {"path": str(tmp_path / "offsite")}
    (copied,) = golden.run("copy", "closed", "--to", "offsite")["backups"]
    assert copied["problem"] == ""
    kept = sorted((tmp_path / "sealed/closed").rglob("*.*"))
    assert any(path.name == "manifest.json" for path in kept)
    for path in kept:
        there = tmp_path / "offsite" / path.relative_to(tmp_path / "sealed")
        assert there.read_bytes() == path.read_bytes()
    golden.settings["jobs"]["closed"]["repository"] = "offsite"
    identity = ("--identity", str(golden.folder / "identity"))
    assert golden.run("verify", copied["backup"], *identity)["unopened"] == 0
    (listed,) = golden.run("list", "closed")["backups"]
    assert listed["backup"] == copied["backup"]
    shown = golden.run("show", copied["backup"])["manifest"]
    assert {len(part["stored_sha256"]) for part in shown["parts"]} == {64}
    assert "kind" not in shown["proof"]
