"""Drills of clusters, step by step, and the state of an original that they must not change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from holdfast.config.load import load
from holdfast.operations.drill.recovery import DrillRecovery
from holdfast.ports.drill import DrillRoom
from holdfast.sources.postgres.drill.physical import PhysicalDrillServer, WalSupply
from holdfast.wiring.reading import reader_of
from holdfast.wiring.wal import fetching
from tests.fakes.progress import FakeProgress
from tests.support.archive import Archive
from tests.support.clusters import Cluster
from tests.support.drill_rooms import Drilled, processes_in, proven, room, stored
from tests.support.waiting import until


@contextmanager
def drilling(
    archive: Archive, *, until: datetime | None = None
) -> Iterator[tuple[PhysicalDrillServer, DrillRoom]]:
    manifest, _ = stored(archive.installation.repository)
    archive.installation.argv()
    settings = load(archive.installation.folder / "holdfast.yaml")
    recovery = DrillRecovery(
        manifest=manifest,
        reader=reader_of(settings, "shop", progress=FakeProgress()),
        context=lambda: fetching(settings, "shop"),
        until=until,
    )

    with room() as place:
        drill = PhysicalDrillServer(
            manifest, place, WalSupply(plan=recovery.plan, fetching=recovery.fetching)
        )
        try:
            yield drill, place
        finally:
            drill.close()
            assert processes_in(place.folder) == []


def drilled(drill: PhysicalDrillServer, archive: Archive) -> Drilled:
    return proven(drill, *stored(archive.installation.repository))


def ask(drill: PhysicalDrillServer, sql: str) -> str | None:
    return drill.ask(sql, database="", timeout_seconds=60).value


POINTS = "SELECT coalesce(string_agg(id::text, ',' ORDER BY id), 'none') FROM points"


_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def contents(*folders: Path) -> dict[str, str]:
    """Every file with its content and time, every folder and link."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path)] = f"{digest} {path.stat().st_mtime_ns}"
            else:
                found[str(path)] = str(path.readlink()) if path.is_symlink() else "folder"
    return found


def server_state(server: Cluster) -> dict[str, object]:
    # Nobody is to use it now; the sessions of earlier steps end a moment after they were closed.
    until(lambda: server.ask(_OTHERS) == [(0,)])
    return {
        "settings": server.ask("SELECT name, setting FROM pg_settings ORDER BY name"),
        "slots": server.ask("SELECT slot_name, active, restart_lsn FROM pg_replication_slots"),
        "standbys": server.ask("SELECT count(*) FROM pg_stat_replication"),
        "not archived": server.ask("SELECT failed_count FROM pg_stat_archiver"),
        "began": server.ask("SELECT pg_postmaster_start_time()"),
        "tablespaces": server.ask("SELECT oid, spcname FROM pg_tablespace ORDER BY oid"),
    }
