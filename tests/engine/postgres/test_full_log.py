"""A recovery under a server whose log is on a full disk loses no rows."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.archive import Archive, points
from tests.support.clusters import BINARIES, Cluster, cluster, folder_for_cluster
from tests.support.waiting import until

# Every write to it fails with ENOSPC, as on a full disk.
FULL_DISK = "/dev/full"


def test_damaged_wal_stops_a_recovery_whose_log_cannot_be_written(tmp_path: Path) -> None:
    with cluster() as server, folder_for_cluster() as folder:
        archive = Archive(server, tmp_path)
        archive.begin()
        archive.installation.run("backup", "shop")
        archive.mark(1)
        name = archive.switch()
        archive.mark(2)
        archive.switch()
        back = Cluster(folder)
        where = f"file://{back.data}"
        archive.installation.run("restore", "shop/latest", "--to", where, "--target", "latest")
        back.configure("hot_standby = off")

        (stored,) = archive.installation.repository.glob(f"shop.wal/*/*/{name.lower()}/*.zst")
        whole = stored.read_bytes()
        stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with unheard(back) as process:
            until(lambda: process.poll() is not None or is_open(back))
        assert not is_open(back)

        stored.write_bytes(whole)
        with unheard(back):
            until(lambda: answers(back))
            assert points(back) == [1, 2]


def is_open(given: Cluster) -> bool:
    """Whether its recovery is over: the server removes this file, and nobody else does."""
    return not (given.data / "recovery.signal").exists()


def answers(given: Cluster) -> bool:
    argv = [str(BINARIES / "pg_isready"), "--quiet", "--host", str(given.folder)]
    return subprocess.run(argv, check=False).returncode == 0


@contextmanager
def unheard(given: Cluster) -> Iterator[subprocess.Popen[bytes]]:
    """The server of `given`, which can write no log; ended after it."""
    with Path(FULL_DISK).open("wb") as full:
        process = subprocess.Popen(
            [str(BINARIES / "postgres"), "-D", str(given.data)], stdout=full, stderr=full
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
