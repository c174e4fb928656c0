"""A repository of ten thousand backups and a million parts: how long it takes to look at it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from holdfast.catalog.manifest import encode
from holdfast.model.backup import Codec, Consistency, Manifest, Part, PartKind, Relation, Server
from holdfast.model.fingerprints import of_sha256
from holdfast.model.part_details import PostgresTable
from holdfast.model.proof import Proof

BACKUPS = 10_000
PARTS = 100
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
MB = 1e6
CONFIG = """\
state_directory: {folder}/state
repositories:
  main: {{kind: local, path: {folder}/repository}}
jobs:
  shop:
    source: {{kind: postgres, dsn: "dbname=shop"}}
    repository: main
    retention: {{daily: 30, monthly: 12}}
"""
CALLS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("list, without its cache", ("list", "shop", "--json")),
    ("list", ("list", "shop", "--json")),
    ("show shop/latest", ("show", "shop/latest", "--json")),
    ("du", ("du", "--json")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call of the program took."""

    seconds: float
    peak_bytes: int


def main(argv: list[str]) -> int:
    """Make the repository in the temporary folder, measure, remove it."""
    argparse.ArgumentParser(prog="scripts/bench catalog", description=__doc__).parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="holdfast-catalog-"))
    try:
        fill(folder, backups=BACKUPS, parts=PARTS)
        sys.stdout.write(f"{BACKUPS} backups, {BACKUPS * PARTS} parts\n")
        for name, arguments in CALLS:
            cost = measured(folder, arguments)
            sys.stdout.write(f"{name:28}{cost.seconds:8.1f} s {cost.peak_bytes / MB:8.0f} MB\n")
    finally:
        shutil.rmtree(folder)
    return 0


def fill(folder: Path, *, backups: int, parts: int) -> None:
    """Objects of no bytes where bytes would not be looked at; manifests as they really are."""
    (folder / "state").mkdir()
    (folder / "repository" / "shop").mkdir(parents=True)
    (folder / "holdfast.yaml").write_text(CONFIG.format(folder=folder))
    for number in range(backups):
        manifest = _manifest(number, parts)
        home = folder / "repository" / manifest.backup_id
        (home / "parts" / "data").mkdir(parents=True)
        for part in manifest.parts:
            os.close(os.open(folder / "repository" / part.key, os.O_CREAT | os.O_WRONLY, 0o600))
        (home / "manifest.json").write_bytes(encode(manifest))


def measured(folder: Path, arguments: Sequence[str]) -> Cost:
    """The time and the resident peak of a process of its own."""
    program = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]
    began = time.monotonic()
    process = subprocess.Popen(
        [*program, "--config", str(folder / "holdfast.yaml"), *arguments],
        stdout=subprocess.PIPE,
    )
    if process.stdout is None:
        raise RuntimeError("the program has no output to read")
    with process.stdout as stdout:
        json.load(stdout)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"'holdfast {' '.join(arguments)}' ended with {process.returncode}")
    return Cost(seconds=time.monotonic() - began, peak_bytes=usage.ru_maxrss << 10)


def _manifest(number: int, parts: int) -> Manifest:
    at = FIRST + timedelta(hours=number)
    name = f"{at:%Y%m%dT%H%M%SZ}-{number:08x}"
    return Manifest(
        job="shop",
        name=name,
        run_id=f"{number:032x}",
        host="db1",
        engine="native",
        server=Server(kind="postgres", version="17.2", database="shop"),
        consistency=Consistency.SNAPSHOT,
        proof=Proof(snapshot="00000003-0000001B-1"),
        tools={"pg_dump": "17.2"},
        started_at=at,
        snapshot_at=at,
        finished_at=at + timedelta(minutes=1),
        peak_memory_bytes=60 << 20,
        workers=2,
        parts=tuple(_part(f"shop/{name}", position) for position in range(parts)),
    )


def _part(backup_id: str, position: int) -> Part:
    name = f"data/{position:05}-orders.copy"
    return Part(
        name=name,
        key=f"{backup_id}/parts/{name}.zst",
        kind=PartKind.DATA,
        relation=Relation(schema="public", name=f"orders_{position}"),
        rows=position,
        plain_bytes=0,
        plain_fingerprint=of_sha256("a" * 64),
        stored_bytes=0,
        stored_fingerprint=of_sha256("b" * 64),
        codec=Codec.ZSTD,
        encryption="none",
        seconds=0.25,
        details=PostgresTable(format="binary", encoding="UTF8", columns=("id", "name", "total")),
    )
