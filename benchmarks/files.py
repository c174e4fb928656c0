"""A cluster of a million empty files: time and memory of a base backup that lists them.

No server and no repository take part, so only the listing is measured."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from holdfast.model.backup import Codec, Part, PartPlan
from holdfast.model.fingerprints import of_sha256
from holdfast.ports.sessions import Anchor, Begun, Ended, HeldKind
from holdfast.sources.postgres.files.cluster import ClusterFacts
from holdfast.sources.postgres.files.part_plan import lay_out
from holdfast.sources.postgres.files.snapshot import PhysicalSnapshot
from holdfast.sources.postgres.files.tree import CONTROL_FILE, Seen

FILES = (1000, 100_000, 1_000_000)
# A file system has a limit for the names of one file.
NAMES_A_FILE = 30_000
NAMES_A_FOLDER = 250_000
MB = 1e6
WAL_SEGMENT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StillHolding:
    """Obeys `ports.sessions.Holding`, without a server."""

    begun: Begun
    session_id: str = ""
    ended: Ended | None = None

    def look(self) -> None:
        """It is still there."""

    def end(self) -> Ended:
        return Ended(stop_lsn="0/3000100", backup_label="START WAL LOCATION: 0/3000028\n")

    def abort(self) -> None:
        """Do nothing: there is no server."""


def main(argv: list[str]) -> int:
    """Each number of files in a process of its own."""
    if argv:
        sys.stdout.write(json.dumps(gone_through(Path(argv[0]))))
        return 0
    for count in FILES:
        folder = Path(tempfile.mkdtemp(prefix="holdfast-files-"))
        try:
            fill(folder, count)
            run = [sys.executable, "-m", "benchmarks", "files", str(folder)]
            found = json.loads(subprocess.run(run, check=True, stdout=subprocess.PIPE).stdout)
            sys.stdout.write(
                f"{count:9,} files {found['seconds']:8.1f} s {found['peak_bytes'] / MB:6.0f} MB"
                f" {found['parts']:6} parts, a list of {found['listed_bytes'] / MB:.0f} MB\n"
            )
        finally:
            shutil.rmtree(folder)
    return 0


def fill(data: Path, count: int) -> None:
    """Names of empty files, as many in a folder as a database of many tables has."""
    (data / "global").mkdir()
    (data / CONTROL_FILE).write_bytes(b"control")
    for number in range(count):
        folder = data / "base" / str(5 + number // NAMES_A_FOLDER)
        path = folder / str(16384 + number)
        if number % NAMES_A_FILE == 0 or number % NAMES_A_FOLDER == 0:
            folder.mkdir(parents=True, exist_ok=True)
            path.touch()
            first = path
        else:
            os.link(first, path)


def gone_through(data: Path) -> dict[str, float]:
    """Run a base backup, except for storing what it reads."""
    began, seen = time.monotonic(), Seen()
    found = _facts(data)
    snapshot = PhysicalSnapshot(
        found=found,
        holding=StillHolding(begun=_begun()),
        layout=lay_out(found.tree.entries(seen)),
        name="benchmark",
        seen=seen,
    )
    stored = [_read(snapshot, plan) for plan in snapshot.parts]
    closing = snapshot.closing_parts(stored)
    listed = _read(snapshot, closing[-1])
    return {
        "seconds": time.monotonic() - began,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        "parts": len(stored),
        "listed_bytes": listed.plain_bytes,
    }


def _read(snapshot: PhysicalSnapshot, plan: PartPlan) -> Part:
    with snapshot.read(plan) as stream:
        size_bytes = sum(len(chunk) for chunk in stream)
        memo = stream.memo
    return Part(
        name=plan.name,
        key=f"shop/20261120T020000Z-00000000/parts/{plan.name}.zst",
        kind=plan.kind,
        relation=None,
        rows=None,
        plain_bytes=size_bytes,
        plain_fingerprint=of_sha256("a" * 64),
        stored_bytes=size_bytes,
        stored_fingerprint=of_sha256("b" * 64),
        codec=Codec.ZSTD,
        encryption="none",
        seconds=0.25,
        details=plan.details,
        memo=memo,
    )


def _facts(data: Path) -> ClusterFacts:
    return ClusterFacts(
        version="17.0",
        version_number=170000,
        data=data,
        wal_segment_bytes=WAL_SEGMENT_BYTES,
        has_checksums=True,
        system_identifier="7300000000000000001",
        catalog_version=202406281,
        is_standby=False,
        tablespaces={},
    )


def _begun() -> Begun:
    now = datetime.now(UTC)
    return Begun(
        kind=HeldKind.BACKUP,
        anchor=Anchor(
            system_identifier="7300000000000000001", timeline=1, started_at=now, is_standby=False
        ),
        begun_at=now,
        backend_pid=1,
        start_lsn="0/3000028",
    )
