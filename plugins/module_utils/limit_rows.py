"""Compares limits of logins and services in three layers: our files, all files, the live host."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .accounts import exists
from .login_limits import (
    Entry,
    account,
    entries,
    last_words,
    outvoted as login_outvoted,
    told,
)
from .process_limits import Limit, limits_of, login_limits
from .systemd_units import (
    Run,
    Unit,
    installed_units,
    instances_of,
    loaded_units,
)
from .tuning_report import Choice, Row, explained
from .unit_files import outvoted, said_by

DROPINS = Path("/etc/systemd/system")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitLooker:
    """The wanted limits, those that this host does not grant, and the names of our files."""

    run: Run
    choices: dict[str, Choice]
    refused: dict[str, str]
    file: Path
    dropin: str
    # In a container its creator sets the upper limit; elsewhere we can raise it.
    own_kernel: bool = True

    def logins(self, users: list[str], *, runner: str) -> list[str]:
        """The existing accounts, and the runner's, which may be created later."""
        return [*(user for user in users if user != runner and exists(user)), runner]

    def services(self, names: list[str]) -> tuple[list[str], list[Unit]]:
        """The installed ones of the services, and their loaded units."""
        prefixes = [name for name in names if name.endswith("-.service")]
        others = [name for name in names if name not in prefixes]
        installed = prefixes + installed_units(self.run, others)
        return installed, loaded_units(self.run, [instances_of(name) for name in installed])

    def login_rows(self, users: list[str]) -> list[Row]:
        """One row per login and limit."""
        known, rows = entries(), []
        ours = [entry for entry in known if entry.path == str(self.file)]
        # The entries after our file is written: a file that still overrides ours must be reported.
        then = entries(file=self.file, own=self._lines(users))
        for user in users:
            login = account(user)
            live = login_limits(self.run, user) if exists(user) else None
            for kind, choice in self.choices.items():
                row = (
                    _absent(user, kind, choice)
                    if live is None
                    else self._login(user, kind, choice, live)
                )
                mine = told(last_words(ours, user=login, item=kind))
                now = told(last_words(known, user=login, item=kind))
                row = _kept(replace(row, file=mine, boot=now))
                rows.append(self._unless_outvoted(row, last_words(then, user=login, item=kind)))
        return rows

    def service_rows(self, units: list[Unit]) -> list[Row]:
        """The limits of each loaded service, now and from its next start."""
        if "nofile" not in self.choices:
            return []
        choice, rows = self.choices["nofile"], []
        for unit in units:
            live = limits_of(unit.main_pid) if unit.main_pid else {}
            row = service_row(unit, wanted=int(choice.value), live=live)
            paths = unit.properties.get("DropInPaths", "").split()
            ours = next((path for path in paths if Path(path).name == self.dropin), "")
            row = replace(row, file=said_by(Path(ours), "LimitNOFILE") if ours else "")
            if row.state == "differs":
                row = replace(row, reason=outvoted(unit, "LimitNOFILE", self.dropin))
            rows.append(self._unless_refused("nofile", explained(_kept(row), choice)))
        return rows

    def entries(self, users: list[str]) -> list[dict[str, Any]]:
        """The lines for our file in limits.d."""
        # Refused limits are left out: PAM denies every session of a user whose limit it cannot set.
        return [
            {"user": user, "item": kind, "value": int(choice.value)}
            for user in users
            for kind, choice in self.choices.items()
            if kind not in self.refused
        ]

    def restarts(self, units: list[Unit]) -> list[str]:
        """The running services that still have another limit."""
        if "nofile" not in self.choices or "nofile" in self.refused:
            return []
        live = {unit.name: limits_of(unit.main_pid) for unit in units if unit.main_pid}
        wanted = self.choices["nofile"].value
        return [name for name, limits in live.items() if limits and str(limits["nofile"]) != wanted]

    def _login(
        self,
        user: str,
        kind: str,
        choice: Choice,
        live: dict[str, Limit],
    ) -> Row:
        row = explained(login_row(user, kind, wanted=int(choice.value), live=live), choice)
        return self._unless_refused(kind, row)

    def _lines(self, users: list[str]) -> list[str]:
        return [f"{line['user']} - {line['item']} {line['value']}" for line in self.entries(users)]

    def _unless_outvoted(self, row: Row, words: dict[str, Entry]) -> Row:
        if row.state == "skipped" or row.reason:
            return row
        reason = login_outvoted(words, file=str(self.file), wanted=row.wanted)
        return replace(row, state="differs", reason=reason) if reason else row

    def _unless_refused(self, kind: str, row: Row) -> Row:
        if kind not in self.refused:
            return row
        reason = f"this host grants no more than {self.refused[kind]}"
        return replace(row, state="differs" if self.own_kernel else "skipped", reason=reason)


def login_row(user: str, kind: str, *, wanted: int, live: dict[str, Limit]) -> Row:
    """The row of a login's limit, soft and hard."""
    row = Row(role="limits", key=f"{user} {kind}", wanted=str(wanted), live="", state="differs")
    if not live:
        return replace(row, reason=f"no session could be opened for '{user}'")
    right = live[kind] == Limit(str(wanted), str(wanted))
    return replace(row, live=str(live[kind]), state="ok" if right else "differs")


def service_row(unit: Unit, *, wanted: int, live: dict[str, Limit]) -> Row:
    """The row of a service's limit: at its next start, and of its main process now."""
    promised = Limit(unit.properties["LimitNOFILESoft"], unit.properties["LimitNOFILE"])
    row = Row(
        role="limits",
        key=f"{unit.name} LimitNOFILE",
        wanted=str(wanted),
        live=str(live.get("nofile", promised)),
        boot=str(promised),
        state="ok",
    )
    if promised != Limit(str(wanted), str(wanted)):
        return replace(row, state="differs")
    if not live:
        return replace(row, reason="not running: applies from its next start")
    if live["nofile"] != promised:
        return replace(row, state="pending", reason="needs a restart of the service")
    return row


def _kept(row: Row) -> Row:
    """A limit that is right only through another file is not kept by ours yet."""
    if row.state == "ok" and row.file != row.wanted:
        return replace(row, state="differs")
    return row


def _absent(user: str, kind: str, choice: Choice) -> Row:
    row = Row(role="limits", key=f"{user} {kind}", wanted=choice.value, live="", state="skipped")
    return explained(replace(row, reason="no such account yet; its line waits for it"), choice)
