"""Waits for a started container to become a usable host, or keeps its log and says why not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import command, keys, podman
from lab.errors import CommandFailed, LabError
from lab.fleet import Host
from lab.state import LOGS
from lab.waiting import wait_until

BOOT_SECONDS = 300
# Four sleeping children in a unit that may have three tasks: the shell must fail to fork.
FORK_BEYOND_LIMIT = "for child in 1 2 3 4; do sleep 1 & done; wait"
SERVING = "/run/lab-serving"


def settle(host: Host, *, network: str) -> None:
    """Wait until the host has booted, answers over ssh and enforces the limits of its units."""
    name = host.container(network)
    login = keys.ssh_arguments(network, host.address)
    with log_kept(host, name):
        wait_until(lambda: require_running(name), deadline_seconds=BOOT_SECONDS)
        wait_until(lambda: command.run([*login, "true"]), deadline_seconds=BOOT_SECONDS)
        require_enforced_limits(name)


def settle_plain(host: Host, *, network: str) -> None:
    """Wait until the one server of a host without systemd answers."""
    name = host.container(network)
    with log_kept(host, name):
        wait_until(lambda: require_serving(name), deadline_seconds=BOOT_SECONDS)


@contextmanager
def log_kept(host: Host, name: str) -> Iterator[None]:
    """Keep the log of a host that does not come up."""
    try:
        yield
    except LabError as error:
        log = keep_log(name)
        raise LabError(f"cannot start host '{host.name}': {error}", hint=f"read {log}") from error


def require_serving(name: str) -> None:
    """Raise `CommandFailed` while the server starts, `LabError` once it has failed."""
    require_first_process(name)
    command.run(["podman", "exec", name, "test", "-e", SERVING])


def require_first_process(name: str) -> None:
    """Raise `LabError` if the container has ended."""
    if command.run(["podman", "inspect", "--format={{.State.Status}}", name]).strip() != "running":
        raise LabError("its first process has ended")


def require_running(name: str) -> None:
    """Raise `CommandFailed` while the host boots, `LabError` once it cannot become healthy."""
    require_first_process(name)
    state = podman.ask(
        name, ["systemctl", "is-system-running", "--wait"], timeout_seconds=BOOT_SECONDS
    )
    if state == "degraded":
        failed = podman.ask(name, ["systemctl", "list-units", "--failed", "--plain", "--no-legend"])
        units = ", ".join(line.split()[0] for line in failed.splitlines())
        raise LabError(f"failed units: {units}")
    if state != "running":
        raise CommandFailed(f"systemd is '{state or 'not there yet'}'")


def require_enforced_limits(name: str) -> None:
    """Raise `LabError` if the host ignores pids.max.

    On such a host every test of process limits would pass wrongly.
    """
    unit = ["systemd-run", "--wait", "--quiet", "--collect", "--property=TasksMax=3"]
    if command.succeeds(["podman", "exec", name, *unit, "sh", "-c", FORK_BEYOND_LIMIT]):
        raise LabError("it does not enforce pids.max: its cgroups are read-only or shared")


def keep_log(name: str) -> Path:
    """Write the container's log and its journal into one file."""
    log = LOGS / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for argv in (["logs", name], ["exec", name, "journalctl", "--boot", "--no-pager"]):
        try:
            parts.append(command.run(["podman", *argv]))
        except CommandFailed as error:
            parts.append(f"{error}\n")
    log.write_text("\n".join(parts))
    return log
