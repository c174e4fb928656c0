"""Backups of PostgreSQL that earlier releases made come back as they were."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.engine.postgres.clusters import BINARIES, Cluster, folder_for_cluster
from tests.engine.postgres.conftest import Laboratory
from tests.engine.postgres.equality import checksums, dump, program
from tests.support.golden import GoldenSite

ROLES = ("shop_app", "corpus_role")
NOT_BY_AN_OLDER_SERVER = 23


@pytest.fixture
def golden(lab: Laboratory, tmp_path: Path) -> GoldenSite:
    site = GoldenSite(tmp_path, "0.1.0/postgres-17.tar")
    site.seal()
    for name in ("native", "wire", "tools", "cluster"):
        site.job_of(name, "postgres")
    site.job_of("closed", "postgres", repository="sealed")
    for role in ROLES:
        if not lab.ask("postgres", f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
            lab.run("postgres", f"CREATE ROLE {role}")
        lab.will_have_role(role)
    return site


def as_it_was(lab: Laboratory, golden: GoldenSite) -> str:
    """The same database, loaded by psql from the dump of that time."""
    database = lab.database()
    conninfo = lab.conninfo(database)
    subprocess.run(
        [program("psql", conninfo), "-qX", "-d", conninfo],
        input=golden.dump,
        check=True,
        capture_output=True,
    )
    return database


@pytest.mark.parametrize("job", ["native", "wire", "tools", "closed"])
def test_a_backup_of_an_earlier_release_comes_back_as_it_was(
    lab: Laboratory, golden: GoldenSite, job: str
) -> None:
    listed = golden.run("list", job)["backups"]
    oldest = listed[-1]["backup"]
    identity = ["--identity", str(golden.folder / "identity")] if job == "closed" else []
    assert golden.run("verify", oldest, *identity)["verified"] is True
    restored = lab.name()
    argv = ["restore", listed[0]["backup"], "--to", lab.url(restored), *identity]
    if lab.ask("postgres", "SHOW server_version_num") < [("170000",)]:
        refused = golden.run(*argv, code=NOT_BY_AN_OLDER_SERVER)
        assert "a server of version 17 or later" in refused["hint"]
        return
    golden.run(*argv)
    expected = as_it_was(lab, golden)
    if job != "native":
        # The newest backup of `native` alone is of the moment of the dump: these came before it.
        lab.run(expected, "DROP TABLE after_base")
    # Ranges of a table arrive side by side, so the order of its rows may be another.
    assert sorted(dump(lab.conninfo(restored))) == sorted(dump(lab.conninfo(expected)))
    assert checksums(lab.conninfo(restored)) == checksums(lab.conninfo(expected))


def test_a_cluster_of_an_earlier_release_recovers_to_a_point_in_its_wal(
    lab: Laboratory, golden: GoldenSite
) -> None:
    if BINARIES.parent.name != "17":
        pytest.skip("a cluster of PostgreSQL 17 is started by no other release")
    assert golden.run("verify", "cluster/latest")["verified"] is True
    expected = as_it_was(lab, golden)
    with folder_for_cluster() as folder:
        back = Cluster(folder)
        try:
            golden.run(
                *("restore", "cluster/latest", "--to", f"file://{back.data}"),
                *("--target-name", "golden", "--target-action", "promote"),
                *("--start", "--start-options", f"-k {folder} -c archive_mode=off"),
            )
            shop = back.dsn.replace("dbname=postgres", "dbname=shop")
            assert checksums(shop) == checksums(lab.conninfo(expected))
        finally:
            if (back.data / "postmaster.pid").exists():
                back.stop("immediate")
