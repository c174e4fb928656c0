"""The suites by name, each a function that runs its steps and returns their outcomes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lab import machine
from tests.engine.depth import FULL
from tests.runner import engine
from tests.runner.steps import LOGS, Outcome, Step, run, show

STOCK_TOOLS = {name: [f"/usr/bin/{name}"] for name in ("age", "jq", "openssl", "zstd")}
# First of all destroy: molecule remembers hosts that somebody else may have taken away since.
BEFORE = ("destroy", "create", "prepare", "check", "converge", "idempotence")


def lint() -> list[Outcome]:
    """Every checker of the house; each counts as one test."""
    return [
        _ran(Step(name="ruff check", argv=["ruff", "check"])),
        _ran(Step(name="ruff format", argv=["ruff", "format", "--check"])),
        _ran(Step(name="mypy strict", argv=["mypy"])),
        _ran(Step(name="import contracts", argv=["lint-imports"])),
        _ran(Step(name="yamllint", argv=["yamllint", "--strict", "."])),
        _ran(Step(name="ansible-lint production", argv=["ansible-lint", "--offline"])),
    ]


def unit() -> list[Outcome]:
    """Pure code, and the rules of the house as tests."""
    return [*_stock_tools(), _ran(_pytest("unit", "tests/unit", "tests/house"))]


def contract() -> list[Outcome]:
    """One suite per port, every driver through the same one."""
    return [_ran(_pytest("contract", "tests/contract"))]


def engines() -> list[Outcome]:
    """Real servers: PostgreSQL and MariaDB of both Debian releases, PostgreSQL and MySQL of sid."""
    return engine.outcomes()


def molecule() -> list[Outcome]:
    """The whole site on four hosts, tuning on containers that differ, and the incident on one."""
    return [
        *_scenario("default", [*BEFORE, "verify"]),
        *_scenario("tuning", [*BEFORE, "verify"]),
        *_scenario("incident", ["destroy", "create", "prepare", "converge", "verify"]),
    ]


def vm() -> list[Outcome]:
    """A real kernel, rebooted before it is verified: what containers cannot prove."""
    return _scenario("vm", [*BEFORE, "side-effect", "verify"])


SUITES: dict[str, Callable[[], list[Outcome]]] = {
    "lint": lint,
    "unit": unit,
    "contract": contract,
    "engine": engines,
    "molecule": molecule,
    "vm": vm,
}


def _stock_tools() -> Iterable[Outcome]:
    """The programs that must be able to read what we store; apt is asked for what is missing."""
    if lacking := machine.missing(STOCK_TOOLS):
        install = 'apt-get update -qq && apt-get install -qq --yes --no-install-recommends "$@"'
        yield _ran(Step(name="stock tools", argv=["sh", "-c", install, "sh", *lacking]))


def _pytest(name: str, *paths: str) -> Step:
    junit = LOGS / f"{name}.xml"
    argv = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={junit}", *paths]
    return Step(name=name, argv=argv, junit=junit)


def _scenario(name: str, steps: Sequence[str]) -> list[Outcome]:
    """Step by step, so that each is timed and counted; what was created is destroyed anyway."""
    outcomes: list[Outcome] = []
    try:
        for step in steps:
            outcomes.append(_ran(_molecule(name, step)))
            if outcomes[-1].failed:
                break
        else:
            outcomes.extend(_testinfra(name))
    finally:
        outcomes.append(_ran(_molecule(name, "destroy")))
    return outcomes


def _molecule(scenario: str, step: str) -> Step:
    return Step(
        name=f"molecule {scenario} {step}", argv=["molecule", step, "-s", scenario], env=_sample()
    )


def _sample() -> dict[str, str]:
    """One server of each kind, on different releases, where not all are asked for."""
    return {} if FULL else {"HOLDFAST_MOLECULE_HOSTS": ",".join(engine.SAMPLE)}


def _testinfra(scenario: str) -> Iterable[Outcome]:
    folder = Path("molecule") / scenario / "tests"
    if folder.is_dir():
        step = _pytest(f"molecule {scenario} testinfra", str(folder))
        yield _ran(replace(step, env=_sample()))


def _ran(step: Step) -> Outcome:
    outcome = run(step)
    show(outcome)
    return outcome
