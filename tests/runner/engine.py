"""Engine tests: each database host runs its own tests against its own server."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from lab import command, fleet, project
from lab.fleet import Fleet, Host
from tests.runner import budgets
from tests.runner.jobs import Job, Run
from tests.runner.steps import LOGS, PROJECT, Step
from tests.support.depth import DEPTH, TURN, full

INVENTORY = "tests/engine/inventory"
SCRATCH = "/run/holdfast-tests"
LAB = (sys.executable, "-m", "lab")
# A second host of the same kind, for tests that start their own clusters beside its server.
CLUSTERS = "-clusters"
STARTS_CLUSTERS = re.compile(r"^from tests\.support\.(archive|clusters|pgbench_cluster) ", re.M)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The tests for one kind of server, and the user who runs them."""

    tests: str
    user: str
    variable: str
    address: str


POSTGRES = Bench(
    tests="tests/engine/postgres",
    user="postgres",
    variable="HOLDFAST_TEST_POSTGRES",
    address="host=/run/postgresql user=postgres",
)
MYSQL = Bench(
    tests="tests/engine/mysql",
    user="root",
    variable="HOLDFAST_TEST_MYSQL",
    address="mysql://root@localhost/?unix_socket=/run/mysqld/mysqld.sock",
)
BENCHES = {"postgres": POSTGRES, "mariadb": MYSQL, "mysql": MYSQL}


def jobs(servers: Sequence[str]) -> list[Job]:
    """One job per named host and its second one; each starts its host and removes it."""
    hosts = fleet.read(PROJECT / INVENTORY)
    return [
        _job(host, hosts) for host in hosts.hosts if host.name.removesuffix(CLUSTERS) in servers
    ]


def _job(host: Host, hosts: Fleet) -> Job:
    bench = _bench(host)
    kind = "mysql" if bench is MYSQL else "clusters" if _is_second(host) else "postgres"

    def work(run: Run) -> None:
        limit = (INVENTORY, "--limit", host.name)
        up = Step(name=f"engine {host.name} up", argv=[*LAB, "up", *limit])
        down = Step(name=f"engine {host.name} down", argv=[*LAB, "down", *limit], always=True)
        try:
            if not run(up).failed:
                run(_tests(host, hosts))
        finally:
            run(down)

    return Job(
        name=f"engine {host.name}",
        suite="engine",
        seconds=budgets.seconds(f"engine {kind}", full=full()),
        work=work,
    )


def _bench(host: Host) -> Bench:
    return BENCHES[host.image.rpartition("-")[2]]


def _is_second(host: Host) -> bool:
    return host.name.endswith(CLUSTERS)


def _tests(host: Host, hosts: Fleet) -> Step:
    """Install the project and a scratch folder on the host; returns the step of its tests."""
    container, bench = host.container(hosts.network), _bench(host)
    project.install(container)
    scratch = ["install", "-d", "-m", "0700", "-o", bench.user, SCRATCH]
    command.run(["podman", "exec", container, *scratch])
    report, junit = f"{SCRATCH}/report.xml", LOGS / f"engine-{host.name}.xml"
    argv = [
        *("podman", "exec", "--workdir", "/project", container),
        *("runuser", "-u", bench.user, "--", "env", *_environment(bench)),
        *("python", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *(f"--junit-xml={report}", *_chosen(host, bench)),
    ]
    collect = ["podman", "cp", f"{container}:{report}", str(junit)]
    return Step(name=f"engine {host.name}", argv=argv, junit=junit, collect=collect)


def _chosen(host: Host, bench: Bench) -> list[str]:
    """All tests of the bench, or its half if there are two hosts."""
    if bench is MYSQL:
        return [bench.tests]
    files = sorted((PROJECT / bench.tests).glob("test_*.py"))
    return [
        str(path.relative_to(PROJECT))
        for path in files
        if bool(STARTS_CLUSTERS.search(path.read_text())) == _is_second(host)
    ]


def _environment(bench: Bench) -> tuple[str, ...]:
    return (
        f"HOME={SCRATCH}",
        "PATH=/opt/engine/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH=/project/src:/project",
        # Compiled at installation; the user who runs the tests may not write there.
        "PYTHONDONTWRITEBYTECODE=1",
        f"{bench.variable}={bench.address}",
        f"{DEPTH}={'full' if full() else 'sample'}",
        f"{TURN}={os.environ.get(TURN, '0')}",
    )
