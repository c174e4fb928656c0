"""Let systemd's own timers start backups and drills, only sooner than they would."""

import time

from lab.demo.data import Database
from lab.demo.shell import Shell
from lab.errors import LabError

DEADLINE_SECONDS = 600
PAUSE_SECONDS = 0.5
# This adds one moment to the configured schedule, which stays unchanged.
SOON = "[Timer]\nOnActiveSec=2s\nRandomizedDelaySec=0\nAccuracySec=1s\n"


def unit(database: Database, purpose: str) -> str:
    return f"holdfast-{purpose}-{database.job}"


def start_soon(shell: Shell, wanted: list[Database], purpose: str) -> None:
    """Have the timers of these jobs fire in two seconds; `purpose` is backup or drill."""
    units = [unit(database, purpose) for database in wanted]
    for name in units:
        folder = f"/run/systemd/system/{name}.timer.d"
        shell.run(["mkdir", "-p", folder])
        shell.run(["tee", f"{folder}/50-soon.conf"], feed=SOON.encode())
    shell.run(["systemctl", "daemon-reload"])
    shell.run(["systemctl", "restart", *[f"{name}.timer" for name in units]])


def forget_soon(shell: Shell, wanted: list[Database], purpose: str) -> None:
    """Remove the extra moment."""
    for database in wanted:
        shell.run(["rm", "-r", f"/run/systemd/system/{unit(database, purpose)}.timer.d"])
    shell.run(["systemctl", "daemon-reload"])


def wait(shell: Shell, database: Database, purpose: str) -> None:
    """Wait until the service that the timer started has succeeded.

    Raises `LabError` with its last log lines if it failed.
    """
    name = unit(database, purpose)
    ends = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < ends:
        timer, service = shown(shell, f"{name}.timer"), shown(shell, f"{name}.service")
        fired = timer["LastTriggerUSecMonotonic"] not in ("", "0")
        ended = service["ExecMainExitTimestampMonotonic"] not in ("", "0")
        if fired and ended and service["ActiveState"] in ("inactive", "failed"):
            return require_success(shell, name, service)
        time.sleep(PAUSE_SECONDS)
    raise LabError(
        f"cannot see the end of '{name}' on {shell.host.name}: "
        f"it did not come within {DEADLINE_SECONDS} s"
    )


def require_success(shell: Shell, name: str, service: dict[str, str]) -> None:
    if service["Result"] != "success" or service["ExecMainStatus"] != "0":
        journal = shell.run(["journalctl", "--no-pager", "-o", "cat", "-n", "5", "-u", name])
        raise LabError(
            f"cannot run '{name}' on {shell.host.name}: {service['Result']}, "
            f"status {service['ExecMainStatus']}",
            hint=journal.strip(),
        )


def shown(shell: Shell, name: str) -> dict[str, str]:
    """The properties of a unit that tell whether it ran."""
    wanted = (
        "ActiveState,Result,ExecMainStatus,ExecMainExitTimestampMonotonic,LastTriggerUSecMonotonic"
    )
    lines = shell.run(["systemctl", "show", name, f"--property={wanted}"]).splitlines()
    found = dict.fromkeys(wanted.split(","), "")
    found.update((name, value) for name, _, value in (line.partition("=") for line in lines))
    return found
