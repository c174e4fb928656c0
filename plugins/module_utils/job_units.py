"""Runs a command of the runner in a transient unit with everything that a job's service has."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .systemd_units import Run
from .unit_text import sibling

PREFIX = "holdfast-backup-"
PROGRAM = ("/usr/local/bin/holdfast",)
UNITS = Path("/etc/systemd/system")
MOMENT = Path("/run/systemd/system")
OUTPUT = Path("/run/holdfast-run")
# systemd.exec(5): from here on an exit status is systemd's own, for a failed set-up.
SETUP_FAILED = range(200, 246)


class NotRun(Exception):
    """No such service exists, or systemd did not accept the unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The result of the command."""

    rc: int
    stdout: str
    stderr: str
    reason: str


def service_of(job: str, *, prefix: str, folder: Path = UNITS) -> str:
    """The service of `job`, or the first one if it is empty; raises `NotRun`."""
    found = sorted(path.name for path in folder.glob(f"{prefix}*.service") if path.is_file())
    wanted = f"{prefix}{job}.service" if job else next(iter(found), "")
    if wanted not in found:
        jobs = [name.removeprefix(prefix).removesuffix(".service") for name in found]
        raise NotRun(
            f"cannot find the service of job '{job}': this host has services of"
            f" {', '.join(jobs) or 'no job'}"
        )
    return wanted


def texts_of(run: Run, unit: str) -> list[str]:
    """The fragment of a unit and its drop-ins, in the order in which systemd reads them."""
    code, told, errors = run(
        ["systemctl", "show", "--property=FragmentPath,DropInPaths", "--", unit]
    )
    if code:
        raise NotRun(f"cannot ask systemd about '{unit}': {errors.strip()}")
    known = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    paths = [known.get("FragmentPath", ""), *known.get("DropInPaths", "").split()]
    return [Path(path).read_text() for path in paths if path]


def run_as(run: Run, unit: str, argv: Sequence[str], *, as_root: bool) -> Ended:
    """Run `argv` in a transient unit derived from `unit`, and remove that unit afterwards."""
    name = f"holdfast-run-{secrets.token_hex(8)}.service"
    output = OUTPUT / name
    OUTPUT.mkdir(mode=0o700, exist_ok=True)
    MOMENT.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = MOMENT / name
    try:
        path.write_text(sibling(texts_of(run, unit), argv, output=str(output), as_root=as_root))
        run(["systemctl", "start", "--", name])
        return _ended(run, name, output)
    finally:
        run(["systemctl", "reset-failed", "--", name])
        for gone in (path, Path(f"{output}.out"), Path(f"{output}.err")):
            gone.unlink(missing_ok=True)


def _ended(run: Run, name: str, output: Path) -> Ended:
    told = run(["systemctl", "show", "--property=Result,ExecMainStatus", "--", name])[1]
    known = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    code = int(known.get("ExecMainStatus") or 0)
    is_unstarted = known.get("Result") not in ("success", "exit-code") or code in SETUP_FAILED
    return Ended(
        rc=code or int(is_unstarted),
        stdout=_text(Path(f"{output}.out")),
        stderr=_text(Path(f"{output}.err")),
        reason=_said(run, name, known) if is_unstarted else "",
    )


def _said(run: Run, name: str, known: dict[str, str]) -> str:
    """The last journal lines about the unit."""
    lines = run(["journalctl", "--quiet", "--output=cat", "--lines=6", f"--unit={name}"])[1]
    words = "; ".join(line.strip() for line in lines.splitlines() if line.strip())
    return words or f"systemd says {known.get('Result', 'nothing')}"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
