"""Queries systemd about units: which exist, which are loaded, and their properties."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

# How a module runs a program: exit status, output, errors.
Run = Callable[[Sequence[str]], tuple[int, str, str]]
PROPERTIES = (
    "Id", "LoadState", "ActiveState", "MainPID", "ControlGroup",
    "TasksMax", "LimitNOFILE", "LimitNOFILESoft", "FragmentPath", "DropInPaths",
)  # fmt: skip


class SystemdSilent(Exception):
    """systemd did not answer a query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One loaded unit as the service manager sees it, all drop-ins applied."""

    name: str
    active: bool
    main_pid: int
    control_group: str
    properties: dict[str, str]


def loaded_units(run: Run, patterns: Iterable[str]) -> list[Unit]:
    """The loaded units that match the patterns, each once, with aliases resolved."""
    wanted = list(patterns)
    if not wanted:
        return []
    # `--all`: the service of a timer is loaded but inactive most of the time.
    output = _ask(
        run, ["systemctl", "show", "--all", f"--property={','.join(PROPERTIES)}", "--", *wanted]
    )
    units = [_parse_unit(block) for block in output.split("\n\n") if block.strip()]
    return list(
        {unit.name: unit for unit in units if unit.properties["LoadState"] == "loaded"}.values()
    )


def installed_units(run: Run, names: Iterable[str]) -> list[str]:
    """Those of `names` that have a unit file of their own; aliases do not count."""
    wanted = list(names)
    if not wanted:
        return []
    # Exit status 1 only means that none of them exists.
    code, output, errors = run(
        ["systemctl", "list-unit-files", "--no-legend", "--plain", "--", *wanted]
    )
    if code not in (0, 1) or (code == 1 and errors.strip()):
        raise SystemdSilent(f"cannot list unit files: {errors.strip()}")
    rows = [line.split() for line in output.splitlines() if line.strip()]
    return [row[0] for row in rows if row[1] != "alias"]


def instances_of(unit: str) -> str:
    """The pattern for the units of a template (`x@.service`) or a prefix (`x-.service`)."""
    stem, suffix = unit.removesuffix(".service"), ".service"
    return f"{stem}*{suffix}" if stem.endswith(("@", "-")) else unit


def _parse_unit(block: str) -> Unit:
    properties = dict(line.split("=", 1) for line in block.strip().splitlines())
    return Unit(
        name=properties["Id"],
        active=properties["ActiveState"] in ("active", "activating", "reloading", "deactivating"),
        main_pid=int(properties.get("MainPID") or 0),
        control_group=properties.get("ControlGroup", ""),
        properties=properties,
    )


def _ask(run: Run, argv: Sequence[str]) -> str:
    code, output, errors = run(argv)
    if code:
        raise SystemdSilent(
            f"cannot ask systemd ({' '.join(argv[:2])}): {errors.strip() or f'exit status {code}'}"
        )
    return output
