"""Uploads over a wire of 20 ms there and back: ours beside one at a time, rclone and restic.

`python -m benchmarks.upload [s3|sftp ...] [small|large|memory ...]`. Each contender gets a server
of its own that has seen nothing before. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.uploader import STORE
from holdfast.repositories.http_transport import Transport
from holdfast.repositories.s3 import S3Keys, s3_requests
from lab.machine import install, missing
from lab.stores.ceph import s3_server
from lab.stores.sshd import sftp_server
from lab.stores.wire import wire

PACKAGES = {"rclone": ["/usr/bin/rclone"], "restic": ["/usr/bin/restic"]}
ONE_WAY_SECONDS = 0.01
AT_ONCE = 8
SMALL_BYTES = 10_000
LARGE_BYTES = 512 << 20
A_FOLDER = 500
BUCKET = "bench"
MB = 1e6
COLUMNS = ("", "files", "seconds", "files/s", "MB/s", "speed", "CPU s", "memory")


@dataclass(frozen=True, kw_only=True)
class Case:
    """`files` of one size; a contender that would take too long with all of them gets `sample`."""

    files: int
    size_bytes: int
    sample: int


SETS = {"small", "large", "memory"}
SMALL_FILES = 20_000
MEMORY_FILES = (1_000, 100_000)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A store that is up, in the words of our own program and of the other ones."""

    ours: dict[str, str]
    rclone: str
    restic: str
    environment: dict[str, str]
    restic_options: tuple[str, ...] = ()


@contextmanager
def s3_place(folder: Path, one_way_seconds: float) -> Iterator[Place]:
    with (
        s3_server(folder / "ceph") as server,
        wire(server.port, one_way_seconds=one_way_seconds) as line,
    ):
        endpoint = f"http://127.0.0.1:{line.port}"
        keys = S3Keys(access_key=server.owner.access_key, secret_key=server.owner.secret_key)
        s3_requests(
            Transport(server.endpoint),
            BUCKET,
            region="us-east-1",
            keys=keys,
            clock=lambda: datetime.now(UTC),
        ).ask("PUT", "", {})
        yield Place(
            ours={
                "kind": "s3",
                "bucket": BUCKET,
                "endpoint": endpoint,
                "access_key": keys.access_key,
                "secret_key": keys.secret_key,
            },
            rclone=f":s3:{BUCKET}/rclone",
            restic=f"s3:{endpoint}/{BUCKET}/restic",
            environment={
                "AWS_ACCESS_KEY_ID": keys.access_key,
                "AWS_SECRET_ACCESS_KEY": keys.secret_key,
                "RCLONE_S3_PROVIDER": "Ceph",
                "RCLONE_S3_ACCESS_KEY_ID": keys.access_key,
                "RCLONE_S3_SECRET_ACCESS_KEY": keys.secret_key,
                "RCLONE_S3_ENDPOINT": endpoint,
                "RCLONE_S3_NO_CHECK_BUCKET": "true",
            },
            restic_options=("-o", f"s3.connections={AT_ONCE}"),
        )


@contextmanager
def sftp_place(folder: Path, one_way_seconds: float) -> Iterator[Place]:
    root = folder / "root"
    root.mkdir()
    with (
        sftp_server(folder / "sshd") as server,
        wire(server.port, one_way_seconds=one_way_seconds) as line,
    ):
        key = str(server.private_key)
        known = folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{line.port} {server.host_key}\n")
        ssh = f"ssh -p {line.port} -i {key} -o UserKnownHostsFile={known}"
        yield Place(
            ours={
                "kind": "sftp",
                "port": str(line.port),
                "user": server.user,
                "host_key": server.host_key,
                "private_key": key,
                "root": str(root),
            },
            rclone=f":sftp:{root}/rclone",
            restic=f"sftp:{server.user}@127.0.0.1:{root}/restic",
            environment={
                "RCLONE_SFTP_HOST": "127.0.0.1",
                "RCLONE_SFTP_PORT": str(line.port),
                "RCLONE_SFTP_USER": server.user,
                "RCLONE_SFTP_KEY_FILE": key,
                "RCLONE_SFTP_KNOWN_HOSTS_FILE": str(known),
            },
            restic_options=(
                "-o",
                f"sftp.connections={AT_ONCE}",
                "-o",
                f"sftp.command={ssh} {server.user}@127.0.0.1 -s sftp",
            ),
        )


PLACES: dict[str, Any] = {"s3": s3_place, "sftp": sftp_place}
Command = Callable[[Place, Path], Sequence[str]]


def ours(at_once: int) -> Command:
    return lambda _place, files: [
        sys.executable,
        "-m",
        "benchmarks.uploader",
        str(files),
        str(at_once),
    ]


def rclone(place: Place, files: Path) -> Sequence[str]:
    side_by_side = ["--transfers", str(AT_ONCE), "--checkers", str(AT_ONCE)]
    return ["rclone", "--config", "/dev/null", *side_by_side, "copy", str(files), place.rclone]


def restic(place: Place, files: Path) -> Sequence[str]:
    return ["restic", "-r", place.restic, *place.restic_options, "backup", "--quiet", str(files)]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench upload", description=__doc__)
    parser.add_argument("what", nargs="*", help="s3 sftp small large memory")
    parser.add_argument("--files", type=int, default=SMALL_FILES, help="how many small files")
    chosen = parser.parse_args(argv)
    wanted = chosen.what
    stores = [name for name in PLACES if name in wanted] or list(PLACES)
    install(missing(PACKAGES))
    console = Console(highlight=False, width=120)
    for name, case in cases(chosen.files).items():
        if name in wanted or not set(wanted) & SETS:
            for store in stores:
                console.print(compared(store, name, case, console))
    if "memory" in wanted or not set(wanted) & SETS:
        console.print(memory(console))
    return 0


def cases(small_files: int) -> dict[str, Case]:
    return {
        "small": Case(files=small_files, size_bytes=SMALL_BYTES, sample=min(1_000, small_files)),
        "large": Case(files=4, size_bytes=LARGE_BYTES, sample=4),
    }


def compared(store: str, name: str, case: Case, console: Console) -> Table:
    """One table: all contenders with the same files; ratios are to the first one."""
    table = Table(*COLUMNS, title=f"upload {name} to {store}, 20 ms", title_justify="left")
    base = 0.0
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        whole = made_files(Path(folder) / "files", case.files, case.size_bytes)
        part = whole
        if case.sample != case.files:
            part = made_files(Path(folder) / "sample", case.sample, case.size_bytes)
        contenders: list[tuple[str, Command, Path, int]] = [
            ("one at a time", ours(1), part, case.sample),
            ("holdfast", ours(AT_ONCE), whole, case.files),
            # Over SFTP it is no faster than one at a time.
            ("rclone", rclone, *((part, case.sample) if store == "sftp" else (whole, case.files))),
            ("restic", restic, whole, case.files),
        ]
        for who, command, files, count in contenders:
            console.print(f"  {store} {name}: {who}")
            cost = measured(store, command, files, is_restic=command is restic)
            rate = count / cost["seconds"]
            base = base or rate
            table.add_row(
                who,
                str(count),
                f"{cost['seconds']:.1f}",
                f"{rate:.1f}",
                f"{rate * case.size_bytes / MB:.1f}",
                f"{rate / base:.1f}",
                f"{cost['client_cpu_seconds']:.1f}",
                f"{cost['peak_bytes'] / MB:.0f} MB",
            )
    return table


def memory(console: Console) -> Table:
    """Without the long wire: only the number of files differs."""
    table = Table("files", "seconds", "memory", title="holdfast to s3", title_justify="left")
    for count in MEMORY_FILES:
        console.print(f"  memory: {count} files")
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            files = made_files(Path(folder) / "files", count, SMALL_BYTES)
            cost = measured("s3", ours(AT_ONCE), files, one_way_seconds=0.0)
        table.add_row(str(count), f"{cost['seconds']:.1f}", f"{cost['peak_bytes'] / MB:.1f} MB")
    return table


def measured(
    store: str,
    command: Command,
    files: Path,
    *,
    one_way_seconds: float = ONE_WAY_SECONDS,
    is_restic: bool = False,
) -> dict[str, float]:
    """What one contender costs, with a store of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        PLACES[store](Path(folder), one_way_seconds) as place,
    ):
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **place.environment,
            STORE: json.dumps(place.ours),
            "RESTIC_PASSWORD": secrets.token_hex(8),
            "RESTIC_CACHE_DIR": str(Path(folder) / "cache"),
        }
        if is_restic:
            start = ["restic", "-r", place.restic, *place.restic_options, "init", "--quiet"]
            subprocess.run(start, env=environment, check=True)
        argv = [sys.executable, "-m", "benchmarks.measure", *command(place, files)]
        done = subprocess.run(argv, env=environment, check=True, stdout=subprocess.PIPE)
    cost: dict[str, float] = json.loads(done.stdout)
    return cost


def made_files(folder: Path, count: int, size_bytes: int) -> Path:
    """Files of random bytes, which no contender can compress or deduplicate."""
    for number in range(count):
        path = folder / f"{number // A_FOLDER:04}" / f"{number:06}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            for start in range(0, size_bytes, 1 << 20):
                out.write(os.urandom(min(1 << 20, size_bytes - start)))
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
