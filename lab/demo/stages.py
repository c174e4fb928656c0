"""The stages of the demo in order; each reports its work, its duration and its result."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.status import Status

from lab import fleet, hosts, images, machine
from lab.demo import data, equality, timers
from lab.demo.playbooks import Played, play
from lab.demo.results import Row, tuned_keys
from lab.demo.shell import POSTGRES, Shell, shells
from lab.errors import LabError
from lab.state import PROJECT, STATE

INVENTORY = PROJECT / "inventory" / "demo"
REPORTS = STATE / "demo" / "tuning"
Answer = TypeVar("Answer")


class Demo:
    """One run of the main job; the stages fill `rows`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._fleet = fleet.read(INVENTORY)
        self._shells = shells(self._fleet)
        self._status: Status | None = None
        self.rows = {
            (shell.host.name, database.job): Row(host=shell.host.name, job=database.job)
            for shell in self._shells
            for database in data.databases(shell)
        }

    def run(self) -> None:
        """Run all stages; the first one that fails ends the demo."""
        for title, stage in (
            ("build the images of the hosts", self._build),
            ("start four hosts", self._start),
            ("load their databases", self._load),
            ("tune and deploy: site.yml", self._deploy),
            ("let the timers start the first backups", self._back_up),
            ("verify every backup: verify.yml", self._verify),
            ("let the timers start a drill of each", self._drill),
            ("restore into fresh databases: restore.yml", self._restore),
            ("compare restored databases with their sources", self._compare),
            ("run site.yml again: nothing may change", self._deploy_again),
        ):
            with self._stage(title) as tell:
                tell(stage())

    def _build(self) -> str:
        here = machine.describe()
        machine.install_for_containers(here)
        wanted = sorted({host.image for host in self._fleet.hosts})
        images.build(images.by_name(wanted), here=here)
        return f"{len(wanted)} images"

    def _start(self) -> str:
        # Remove a fleet that an earlier demo left, so that this one starts from nothing.
        hosts.down(self._fleet, limit=[])
        hosts.up(self._fleet, limit=[])
        return ", ".join(f"{shell.host.name} ({shell.host.image})" for shell in self._shells)

    def _load(self) -> str:
        sizes = self._on_every_host(data.load)
        chinook = "" if data.CHINOOK.is_dir() else "; without the Chinook data, so the shop only"
        told = [f"{shell.host.name} {size}" for shell, size in sizes]
        return ", ".join(told) + chinook

    def _deploy(self) -> str:
        played = self._play("site", {})
        return f"{sum(played.changed.values())} changes"

    def _back_up(self) -> str:
        self._by_timers("backup", self._await_backups)
        return f"{len(self.rows)} backups, each started by its timer"

    def _by_timers(self, purpose: str, wait: Callable[[Shell], None]) -> None:
        """Have the timers of all jobs fire, and wait for what they started."""
        self._on_every_host(lambda shell: timers.start_soon(shell, data.databases(shell), purpose))
        try:
            self._on_every_host(wait)
        finally:
            self._on_every_host(
                lambda shell: timers.forget_soon(shell, data.databases(shell), purpose)
            )

    def _await_backups(self, shell: Shell) -> None:
        for database in data.databases(shell):
            timers.wait(shell, database, "backup")
            listed = json.loads(shell.run(["holdfast", "list", database.job, "--json"]))
            (manifest,) = listed["backups"]
            if manifest["consistency"] != "snapshot":
                raise LabError(f"cannot trust '{manifest['backup']}': {manifest['consistency']}")
            self._row(shell, database).manifest = manifest

    def _verify(self) -> str:
        self._play("verify", {})
        for row in self.rows.values():
            row.verified = True
        return f"{len(self.rows)} backups read back, every byte matched"

    def _drill(self) -> str:
        self._by_timers("drill", self._await_drills)
        slowest = max(row.drill["restore_seconds"] for row in self.rows.values())
        return (
            f"{len(self.rows)} backups proven in throw-away servers, the slowest in {slowest:.1f} s"
        )

    def _await_drills(self, shell: Shell) -> None:
        for database in data.databases(shell):
            timers.wait(shell, database, "drill")
            listed = json.loads(shell.run(["holdfast", "drills", database.job, "--json"]))
            (record,) = listed["drills"]
            row = self._row(shell, database)
            if (record["outcome"], record["backup"]) != ("passed", row.manifest["backup"]):
                raise LabError(
                    f"cannot call '{row.manifest['backup']}' drilled: {record['problem']}"
                )
            row.drill = record

    def _restore(self) -> str:
        self._on_every_host(self._restore_all)
        return f"{len(self.rows)} databases"

    def _restore_all(self, shell: Shell) -> None:
        for database in data.databases(shell):
            self._play(
                "restore",
                {
                    "restore_host": shell.host.name,
                    "restore_backup": f"{database.job}/latest",
                    "restore_to": _restore_address(shell.kind, database.restored),
                },
                log=f"restore-{shell.host.name}-{database.job}",
            )

    def _compare(self) -> str:
        for shell, compared in self._on_every_host(_compare_all):
            for database, comparison in compared:
                self._row(shell, database).compared = comparison
                if not comparison.equal:
                    raise LabError(
                        f"cannot call '{database.restored}' on {shell.host.name} equal: "
                        f"{'; '.join(comparison.differences[:3])}"
                    )
        rows = sum(row.compared.rows for row in self.rows.values() if row.compared)
        return f"{rows} rows, all definitions and grants"

    def _deploy_again(self) -> str:
        REPORTS.mkdir(parents=True, exist_ok=True)
        played = self._play("site", {"tune_report_directory": str(REPORTS)})
        changed = {host: count for host, count in played.changed.items() if count}
        if changed:
            raise LabError(
                f"cannot call site.yml idempotent: its second run changed {changed}",
                hint=f"read {played.log}",
            )
        for shell in self._shells:
            report = json.loads((REPORTS / f"{shell.host.name}.json").read_text())
            for database in data.databases(shell):
                self._row(shell, database).tuned = tuned_keys(report["rows"])
        return "no change, and every tuned key read back once more"

    def _play(self, name: str, variables: Mapping[str, str], *, log: str = "") -> Played:
        return play(name, INVENTORY, variables=variables, log=log or name, say=self._say)

    def _row(self, shell: Shell, database: data.Database) -> Row:
        return self.rows[(shell.host.name, database.job)]

    def _on_every_host(self, act: Callable[[Shell], Answer]) -> list[tuple[Shell, Answer]]:
        with ThreadPoolExecutor(len(self._shells)) as pool:
            return list(zip(self._shells, pool.map(act, self._shells), strict=True))

    @contextmanager
    def _stage(self, title: str) -> Iterator[Callable[[str], None]]:
        """Show a stage while it runs, and its result in one line afterwards."""
        began = time.monotonic()
        seen: list[str] = []
        self._console.print(f"[bold]·[/bold] {title}")
        with self._console.status(title) as self._status:
            yield seen.append
        self._console.print(f"  [green]✓[/green] {time.monotonic() - began:.1f} s: {seen[0]}")

    def _say(self, what: str) -> None:
        if self._status is not None:
            self._status.update(what)


def _compare_all(shell: Shell) -> list[tuple[data.Database, equality.Comparison]]:
    return [(each, equality.compare(shell, each)) for each in data.databases(shell)]


def _restore_address(kind: str, database: str) -> str:
    if kind == POSTGRES:
        return f"postgresql://holdfast_restore@/{database}?host=/run/postgresql"
    return f"mysql://root@localhost/{database}?unix_socket=/run/mysqld/mysqld.sock"
