"""The suites by name, each a list of jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lab import machine
from lab.state import TOOLS
from tests.runner import budgets, engine, newcomer
from tests.runner.jobs import Job, Run
from tests.runner.steps import LOGS, Step
from tests.runner.turns import Servers
from tests.support.depth import full

# The hooks of `.pre-commit-config.yaml` are the same.
CHECKERS = {
    "ruff check": ["ruff", "check"],
    "ruff format": ["ruff", "format", "--check"],
    "mypy strict": ["mypy"],
    "import contracts": ["lint-imports"],
    "yamllint": ["yamllint", "--strict", "."],
    "ansible-lint production": ["ansible-lint", "--offline"],
}
STOCK_TOOLS = {name: [f"/usr/bin/{name}"] for name in ("age", "b3sum", "jq", "openssl", "zstd")}
# With its fonts; nothing else of a desktop.
CHROMIUM = {"chromium": ["/usr/bin/chromium"]}
# Its package would start a server.
PROMTOOL = {"prometheus": ["/usr/bin/promtool", str(TOOLS / "promtool")]}
UNPACK = (
    "from lab import machine, state; machine.unpack('prometheus', 'promtool', into=state.TOOLS)"
)
INSTALL = "import sys; from lab.machine import install; install(sys.argv[1:])"
# Destroy first: molecule remembers hosts that may have been removed since.
BEFORE = ("destroy", "create", "prepare", "check", "converge", "idempotence")


def lint(_: Servers) -> list[Job]:
    """All linters; each counts as one test."""
    steps = [Step(name=name, argv=argv) for name, argv in CHECKERS.items()]
    return [_job("lint", "lint", lambda run: _each(run, steps))]


def unit(_: Servers) -> list[Job]:
    """Unit tests and the rules of the house; and the same in a closed folder, as another user."""
    return [
        _job("unit", "unit", _unit),
        _job("unit elsewhere", "unit", newcomer.run_elsewhere),
    ]


def contract(_: Servers) -> list[Job]:
    """One suite per port, which every driver must pass."""
    return [_job("contract", "contract", lambda run: _each(run, [_pytest("contract")]))]


def browser(_: Servers) -> list[Job]:
    """The page of a fleet in Debian's Chromium; its pictures are beside the logs."""
    return [_job("browser", "browser", _browser)]


def engines(servers: Servers) -> list[Job]:
    """Real servers: PostgreSQL and MariaDB of both Debian releases, PostgreSQL and MySQL of sid."""
    return engine.jobs(servers.engine)


def molecule(servers: Servers) -> list[Job]:
    """The whole site on its hosts, tuning on containers that differ, and the incident on one."""
    site = {"HOLDFAST_MOLECULE_HOSTS": ",".join(servers.site)}
    return [
        _scenario("default", [*BEFORE, "verify"], env=site),
        _scenario("tuning", [*BEFORE, "verify"]),
        _scenario("incident", ["destroy", "create", "prepare", "converge", "verify"]),
    ]


def vm(_: Servers) -> list[Job]:
    """A real kernel, rebooted before it is verified: what containers cannot prove."""
    return [replace(_scenario("vm", [*BEFORE, "side-effect", "verify"]), suite="vm")]


def upgrade(_: Servers) -> list[Job]:
    """Two hosts of an older release, and what they hold after `site.yml` of this one."""
    return [_job("upgrade", "upgrade", lambda run: _each(run, [_pytest("upgrade")]))]


def packages(_: Servers) -> list[Job]:
    """What is published, built twice; installed on fresh hosts, used and removed."""
    return [_job("packages", "packages", lambda run: _each(run, [_pytest("packages")]))]


SUITES: Mapping[str, Callable[[Servers], list[Job]]] = {
    "lint": lint,
    "unit": unit,
    "contract": contract,
    "browser": browser,
    "engine": engines,
    "molecule": molecule,
    "packages": packages,
    "upgrade": upgrade,
    "vm": vm,
}


def _job(name: str, suite: str, work: Callable[[Run], None]) -> Job:
    return Job(name=name, suite=suite, seconds=budgets.seconds(name, full=full()), work=work)


def _each(run: Run, steps: Sequence[Step]) -> None:
    for step in steps:
        run(step)


def _unit(run: Run) -> None:
    """Run the unit tests; tools that must be able to read what we store are installed first."""
    if lacking := machine.missing(STOCK_TOOLS):
        run(Step(name="stock tools", argv=[sys.executable, "-c", INSTALL, *lacking]))
    if machine.missing(PROMTOOL):
        run(Step(name="promtool", argv=[sys.executable, "-c", UNPACK]))
    run(_pytest("unit", "tests/unit", "tests/house"))


def _browser(run: Run) -> None:
    if lacking := machine.missing(CHROMIUM):
        run(Step(name="chromium", argv=[sys.executable, "-c", INSTALL, *lacking]))
    run(_pytest("browser"))


def _pytest(name: str, *paths: str) -> Step:
    junit = LOGS / f"{name}.xml"
    where = paths or (f"tests/{name}",)
    argv = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={junit}", *where]
    return Step(name=name, argv=argv, junit=junit)


def _scenario(name: str, steps: Sequence[str], *, env: Mapping[str, str] | None = None) -> Job:
    """Each step is timed and counted; hosts are destroyed in any case."""

    def step(command: str) -> Step:
        argv = ["molecule", command, "-s", name]
        return Step(name=f"molecule {name} {command}", argv=argv, env=env or {})

    def work(run: Run) -> None:
        try:
            if all(not run(step(command)).failed for command in steps):
                tests = Path("molecule") / name / "tests"
                if tests.is_dir():
                    asked = _pytest(f"molecule {name} testinfra", str(tests))
                    run(replace(asked, env=env or {}))
        finally:
            run(replace(step("destroy"), always=True))

    return _job(f"molecule {name}", "molecule", work)
