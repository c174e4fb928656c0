"""Engine tests: each database host runs its own, beside its own server."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab import command, fleet, project
from lab.errors import LabError
from lab.fleet import Fleet, Host
from tests.engine.depth import DEPTH, FULL
from tests.runner.steps import LOGS, Outcome, Step, run, say, show

INVENTORY = "tests/engine/inventory"
SCRATCH = "/run/holdfast-tests"
AT_ONCE = 2
# One server of each kind, on different releases; `full` takes all.
SAMPLE = ("maria12", "pg13")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The tests that belong beside one kind of server, and who runs them."""

    tests: str
    user: str
    variable: str
    address: str


MYSQL = Bench(
    tests="tests/engine/mysql",
    user="root",
    variable="HOLDFAST_TEST_MYSQL",
    address="mysql://root@localhost/?unix_socket=/run/mysqld/mysqld.sock",
)
BENCHES = {
    "postgres": Bench(
        tests="tests/engine/postgres",
        user="postgres",
        variable="HOLDFAST_TEST_POSTGRES",
        address="host=/run/postgresql user=postgres",
    ),
    "mariadb": MYSQL,
    "mysql": MYSQL,
}


def outcomes() -> list[Outcome]:
    """Bring the hosts up, test them two at a time, take them away again."""
    lab = [sys.executable, "-m", "lab"]
    hosts = fleet.read(Path(INVENTORY))
    if not FULL:
        say(f"     only {' and '.join(SAMPLE)} of {len(hosts.hosts)} hosts: `full` takes all")
        hosts = hosts.only(list(SAMPLE))
    names = ",".join(host.name for host in hosts.hosts)
    ready = run(Step(name="engine hosts up", argv=[*lab, "up", INVENTORY, "--limit", names]))
    show(ready)
    results = [ready]
    try:
        if not ready.failed:
            results.extend(_all_tested(hosts))
    finally:
        gone = run(Step(name="engine hosts down", argv=[*lab, "down", INVENTORY]))
        show(gone)
        results.append(gone)
    return results


def _all_tested(hosts: Fleet) -> list[Outcome]:
    results: list[Outcome] = []
    with ThreadPoolExecutor(max_workers=AT_ONCE) as benches:
        for result in benches.map(lambda host: _tested(host, hosts), hosts.hosts):
            show(result)
            results.append(result)
    return results


def _tested(host: Host, hosts: Fleet) -> Outcome:
    container = host.container(hosts.network)
    bench = BENCHES[host.image.rpartition("-")[2]]
    name = f"engine {host.name}"
    try:
        project.install(container)
        scratch = ["install", "-d", "-m", "0700", "-o", bench.user, SCRATCH]
        command.run(["podman", "exec", container, *scratch])
    except LabError as error:
        log = LOGS / f"{name.replace(' ', '-')}.log"
        log.write_text(str(error))
        return Outcome(name=name, passed=0, failed=1, seconds=0.0, log=log)
    report, junit = f"{SCRATCH}/report.xml", LOGS / f"engine-{host.name}.xml"
    argv = [
        *("podman", "exec", "--workdir", "/project", container),
        *("runuser", "-u", bench.user, "--", "env", *_environment(bench)),
        *("python", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *(f"--junit-xml={report}", bench.tests),
    ]
    collect = ["podman", "cp", f"{container}:{report}", str(junit)]
    return run(Step(name=name, argv=argv, junit=junit, collect=collect))


def _environment(bench: Bench) -> tuple[str, ...]:
    return (
        f"HOME={SCRATCH}",
        "PATH=/opt/engine/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH=/project/src:/project",
        "PYTHONDONTWRITEBYTECODE=1",
        f"{bench.variable}={bench.address}",
        f"{DEPTH}={'full' if FULL else 'sample'}",
    )
