"""What a night of a fleet costs its repository: simulated hosts, real requests to a real S3 server.

`python -m benchmarks fleet-store [HOSTS ...]`. Hosts live in virtual time, so that a night takes as
long as its requests. Each size gets a server of its own.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.simulated_hosts import BEGIN, Log, Night, simulated
from holdfast.operations.fleet import fleet
from holdfast.ports.repository import Repository
from holdfast.repositories.buckets import Bucket
from holdfast.repositories.http_transport import Transport
from holdfast.repositories.s3 import S3Keys, s3_repository, s3_requests
from lab.errors import LabError
from lab.stores.ceph import s3_server

SIZES = (100, 300, 1000)
SLOTS = 20
BACKUP_SECONDS = 60.0
BUCKET, REGION = "fleet", "us-east-1"
NAMES_A_PAGE = 1000
# Of a thousand hosts so many die in their backup, and as many in line.
DYING = 10
KINDS = ("list", "get", "head", "put", "delete")
SUMS = ("all", "a host", "busiest second", "at once", "longest wait", "overtaken by")
_REQUEST = re.compile(rf'"(GET|HEAD|PUT|DELETE) /{BUCKET}(/[^ ?"]*)?[ ?"]')


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A bucket of a server that nobody else uses."""

    repository: Repository
    log: Path

    def requests(self) -> Counter[str]:
        """The requests that the server saw, by its own log."""
        found: Counter[str] = Counter()
        with self.log.open(errors="replace") as lines:
            for line in lines:
                if asked := _REQUEST.search(line):
                    method, key = asked[1], (asked[2] or "").strip("/")
                    found["list" if method == "GET" and not key else method.lower()] += 1
        # The bucket itself was put, too.
        return found - Counter({"put": 1})


@contextmanager
def a_store() -> Iterator[Store]:
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        s3_server(Path(folder) / "ceph", names_a_page=NAMES_A_PAGE) as server,
    ):
        keys = S3Keys(access_key=server.owner.access_key, secret_key=server.owner.secret_key)
        s3_requests(Transport(server.endpoint), BUCKET, region=REGION, keys=keys, clock=_now).ask(
            "PUT", "", {}
        )
        repository = s3_repository(
            Bucket(name=BUCKET, endpoint=server.endpoint), region=REGION, keys=keys, clock=_now
        )
        yield Store(repository=repository, log=server.log)


def _now() -> datetime:
    return datetime.now(UTC)


def night_of(hosts: int, *, slots: int = SLOTS, delay_seconds: float = 900.0) -> Night:
    """A night in which one host of a hundred dies in its backup, and one in line."""
    dying = frozenset(range(7, hosts, 1000 // DYING))
    return Night(
        hosts=hosts,
        slots=slots,
        backup_seconds=BACKUP_SECONDS,
        delay_seconds=delay_seconds,
        dying=dying,
        dying_in_line=frozenset(each + 50 for each in dying if each + 50 < hosts),
    )


def require_sound(night: Night, log: Log) -> None:
    """Raises `LabError` unless each host that lived was admitted, and never too many at once."""
    ended = Counter(each.outcome for each in log.runs)
    most_dead = len(night.dying | night.dying_in_line)
    if log.most_at_once > night.slots or ended["busy"] or ended["ok"] < night.hosts - most_dead:
        raise LabError(
            f"{log.most_at_once} hosts wrote at once with {night.slots} slots, and the runs of"
            f" {night.hosts} hosts ended as {dict(ended)}",
            hint="src/holdfast/locking/slots.py admits them",
        )


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench fleet-store", description=__doc__)
    parser.add_argument("hosts", nargs="*", type=int, default=SIZES, help="100 300 1000")
    parser.add_argument("--slots", type=int, default=SLOTS)
    parser.add_argument(
        "--delay", type=float, default=900.0, help="longest random delay of the timers, in seconds"
    )
    chosen = parser.parse_args(argv)
    console = Console(highlight=False, width=150)
    table = Table(
        "hosts", *KINDS, *SUMS, title=f"a night with {chosen.slots} slots", title_justify="left"
    )
    for hosts in chosen.hosts:
        night = night_of(hosts, slots=chosen.slots, delay_seconds=chosen.delay)
        began = time.monotonic()
        with a_store() as store:
            log = simulated(night, store.repository)
            require_sound(night, log)
            seen = store.requests()
            require_counted(seen, log)
            console.print(_reading(store, hosts))
        table.add_row(*_row(hosts, seen, log))
        console.print(f"  {hosts} hosts took {time.monotonic() - began:.0f} s")
    console.print(table)
    return 0


def require_counted(seen: Counter[str], log: Log) -> None:
    """Raises `LabError` if the server saw other requests than the hosts sent.

    A refused put is followed by a look whether it was our own, which only the server sees.
    """
    unseen = {"head"}
    sent = {kind: count for kind, count in log.kinds.items() if kind not in unseen}
    if {kind: count for kind, count in seen.items() if kind not in unseen} != sent:
        raise LabError(
            f"the server saw {dict(seen)}, the hosts sent {dict(log.kinds)}",
            hint="benchmarks/simulated_hosts.py counts what a host sends",
        )


def _reading(store: Store, hosts: int) -> str:
    began, before = time.process_time(), store.requests()
    found = fleet({"main": lambda: store.repository}, now=BEGIN)
    took, asked = time.process_time() - began, store.requests() - before
    return (
        f"  holdfast fleet of {hosts}: {len(found.rows)} rows, {took:.2f} s of CPU, {dict(asked)}"
    )


def _row(hosts: int, seen: Counter[str], log: Log) -> list[str]:
    total = seen.total()
    return [
        str(hosts),
        *(str(seen[kind]) for kind in KINDS),
        str(total),
        f"{total / hosts:.0f}",
        str(log.busiest_second),
        str(log.most_at_once),
        f"{max(log.waits) / 60:.0f} min",
        f"{log.overtaken_seconds:.0f} s",
    ]
