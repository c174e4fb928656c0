"""Snapshots that a script takes of a running cluster, and their consistency."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.postgres.sessiond import Daemon
from tests.support.clusters import BINARIES, Cluster, cluster, folder_for_cluster, run, started
from tests.support.installation import Installation
from tests.support.pgbench_cluster import BALANCES, PgbenchCluster

# The one of docs/snapshots.md.
COPY = """#!/bin/sh
set -eu
log=$HOLDFAST_LABEL_DIR/cp.log
# Files that are dropped meanwhile are no failure: WAL knows of them.
if ! cp -a --reflink=auto "$PGDATA" "$HOLDFAST_LABEL_DIR/data" 2>"$log"; then
    if grep -v 'No such file or directory' "$log" >&2; then exit 1; fi
fi
rm -f "$HOLDFAST_LABEL_DIR/data/postmaster.pid" "$log"
"""


@pytest.fixture
def pgbench(tmp_path: Path) -> Iterator[PgbenchCluster]:
    with cluster() as server:
        made = PgbenchCluster(server, tmp_path)
        made.fill(scale=1, has_space=False)
        yield made


def script(folder: Path, text: str) -> str:
    path = folder / "script"
    path.write_text(text)
    path.chmod(0o700)
    return str(path)


def take(
    installation: Installation, labels: Path, text: str, *, code: int = 0
) -> dict[str, object]:
    argv = (
        "snapshot",
        "shop",
        "--with",
        script(installation.folder, text),
        "--labels",
        str(labels),
    )
    return installation.run(*argv, code=code)


def prove(labels: Path, pgbench: PgbenchCluster) -> None:
    """The copy and its labels make a cluster, which is consistent."""
    with folder_for_cluster() as folder:
        back = Cluster(folder)
        shutil.move(labels / "data", back.data)
        shutil.copy(labels / "backup_label", back.data)
        for segment in (labels / "pg_wal").iterdir():
            shutil.copy(segment, back.data / "pg_wal")
        back.configure("")
        with started(back):
            ((accounts, tellers, branches, history),) = back.ask(BALANCES)
            assert accounts == tellers == branches == history
            run("pg_amcheck", "--install-missing", "--heapallindexed", back.dsn)
        assert "completed backup recovery" in back.log.read_text() or "redo done" in (
            back.log.read_text()
        )
    assert pgbench.server.held() == 0


def test_a_copy_by_cp_under_load_is_a_cluster_with_its_labels(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    labels = tmp_path / "labels"
    with pgbench.under_load():
        told = take(pgbench.installation(), labels, COPY)
    assert told["labels"] == str(labels)
    assert str(told["start_lsn"]) in (labels / "backup_label").read_text()
    prove(labels, pgbench)


def test_a_script_that_fails_leaves_no_backup_on_the_server(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    told = take(
        pgbench.installation(),
        tmp_path / "labels",
        "#!/bin/sh\necho no room >&2\nexit 5\n",
        code=30,
    )
    assert "status 5: no room" in str(told["error"])
    assert not (tmp_path / "labels").exists()
    assert pgbench.server.held() == 0


def test_a_snapshot_under_the_daemon_knows_its_session(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    installation = pgbench.installation(session="daemon")
    with Daemon(installation).running() as daemon:
        asking = COPY + 'echo "$HOLDFAST_SESSION" > "$HOLDFAST_LABEL_DIR/session"\n'
        take(installation, tmp_path / "labels", asking)
        (session,) = daemon.ask("list", "--all")["sessions"]
        assert session["state"] == "ended"
        assert session["session_id"] == (tmp_path / "labels/session").read_text().strip()
        prove(tmp_path / "labels", pgbench)


def test_a_server_stopped_under_the_script_makes_the_snapshot_fail(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    data = json.dumps(str(pgbench.server.data))
    stop = f"#!/bin/sh\n{BINARIES}/pg_ctl -w -m fast -D {data} stop\n"
    told = take(pgbench.installation(), tmp_path / "labels", stop, code=20)
    assert "Traceback" not in json.dumps(told)
    assert not (tmp_path / "labels").exists()
