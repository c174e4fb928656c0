"""Compares disk queues in three layers: our rules, all udev rules and the live disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from .block_devices import Disk, chosen_scheduler, known_to_udev, stable_match
from .host_profiles import QueueWishes, queue_wishes
from .original_state import Original
from .tuning_report import Choice, Row, State, explained
from .udev_rules import QueueRule, last_rule, outvoted

NUMBERS = ("add_random", "read_ahead_kb")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLooker:
    """The wanted settings of all disks, the file of our rules, and all of udev's rules."""

    profile: str
    preferences: tuple[str, ...] = ()
    nvme_preferences: tuple[str, ...] = ()
    add_random: str = "auto"
    read_ahead_kb: str = "auto"
    file: Path = Path("/etc/udev/rules.d/61-holdfast-io-scheduler.rules")
    rules: tuple[QueueRule, ...] = ()

    def wishes(self, disk: Disk) -> QueueWishes:
        """The wanted queue of this disk."""
        nvme = disk.name.startswith("nvme")
        return queue_wishes(
            self.profile,
            nvme=nvme,
            schedulers=self.nvme_preferences if nvme else self.preferences,
            add_random=self.add_random,
            read_ahead_kb=self.read_ahead_kb,
        )

    def asked(self) -> tuple[str, ...]:
        """Every scheduler that may be wanted for some disk."""
        kinds = (Disk(name="sda"), Disk(name="nvme0n1"))
        return tuple(dict.fromkeys(name for kind in kinds for name in self.wishes(kind).schedulers))

    def wants_anything(self) -> bool:
        """Whether anything is to be set on any disk."""
        wishes = self.wishes(Disk(name="sda"))
        return bool(self.asked() or wishes.add_random or wishes.read_ahead_kb)

    def rows(self, disk: Disk, others: list[Disk]) -> list[Row]:
        """One row per setting of the disk, or one with the reason why it is left alone."""
        if disk.unfit:
            return [_row(disk.name, "", "", state="skipped", reason=disk.unfit)]
        wishes, rows = self.wishes(disk), []
        if wishes.schedulers:
            rows.append(self._scheduler(disk, wishes))
        for setting in NUMBERS:
            choice: Choice | None = getattr(wishes, setting)
            if choice:
                rows.append(_number(disk, setting, choice))
        return [self._at_boot(row, disk, others) for row in rows]

    def wanted_rules(self, disks: list[Disk]) -> list[dict[str, str]]:
        """The udev rules for the disks, which match by names that survive hot plug."""
        rules = []
        for disk in disks:
            settings = self._settings(disk)
            if disk.unfit or not any(settings.values()):
                continue
            found = stable_match(disk, disks)
            match = f'ENV{{{found[0]}}}=="{found[1]}"' if found else f'KERNEL=="{disk.name}"'
            rules.append({"device": disk.name, "match": match, **settings})
        return rules

    def _settings(self, disk: Disk) -> dict[str, str]:
        wishes = self.wishes(disk)
        numbers = {
            setting: choice.value if choice and getattr(disk, setting) else ""
            for setting in NUMBERS
            for choice in [getattr(wishes, setting)]
        }
        return {"scheduler": chosen_scheduler(disk, wishes.schedulers) or "", **numbers}

    def _scheduler(self, disk: Disk, wishes: QueueWishes) -> Row:
        key, choice = f"{disk.name} scheduler", chosen_scheduler(disk, wishes.schedulers)
        told = Choice(
            value=choice or "",
            formula=f"first on offer of {', '.join(wishes.schedulers)}",
            bounds=f"on offer: {', '.join(disk.schedulers) or 'nothing'}",
            why=wishes.why,
            reference=wishes.reference,
        )
        if choice is None:
            offer = f"the kernel offers only {', '.join(disk.schedulers) or 'no scheduler at all'}"
            return explained(
                _row(key, " or ".join(wishes.schedulers), disk.scheduler, reason=offer), told
            )
        return explained(_row(key, choice, disk.scheduler), told)

    def _at_boot(self, row: Row, disk: Disk, others: list[Disk]) -> Row:
        if row.state == "skipped" or row.reason:
            return row
        setting, known = row.key.split()[1], known_to_udev(disk)
        outcome = last_rule(self.rules, setting=setting, known=known)
        ours = [found for found in self.rules if found.path == str(self.file)]
        mine, rule = last_rule(ours, setting=setting, known=known).rule, outcome.rule
        row = replace(row, file=mine.value if mine else "", boot=rule.value if rule else "")
        # Our rules run on add and change: a later rule for changes alone would override them.
        changed = last_rule(self.rules, setting=setting, known={**known, "ACTION": "change"}).rule
        for last in (rule, changed):
            if reason := outvoted(last, file=self.file, wanted=row.wanted):
                return replace(row, state="differs", reason=reason)
        kept = row.file == row.boot == row.wanted and _by_stable_name(mine, disk, others)
        if row.state == "ok" and not kept:
            return replace(row, state="differs")
        # An undecided rule must not prevent setting a queue that is wrong now.
        doubt = outcome.doubt(wanted=row.wanted)
        return replace(row, reason=doubt) if row.state == "ok" and doubt else row

    def blamed(self, rows: list[Row], disks: Iterable[Disk]) -> list[Row]:
        """Add to each row whose value is not live the rules that may have set it."""
        by_name = {disk.name: disk for disk in disks}
        return [
            replace(row, reason=self._blame(row, by_name[row.key.split()[0]]))
            if row.state == "differs" and not row.reason and row.live != row.wanted
            else row
            for row in rows
        ]

    def _blame(self, row: Row, disk: Disk) -> str:
        known = known_to_udev(disk)
        outcome = last_rule(self.rules, setting=row.key.split()[1], known=known)
        doubt = outcome.doubt(wanted=row.wanted)
        return f"the live value is '{row.live}'; {doubt}" if doubt else ""

    def undecided(self, disks: Iterable[Disk]) -> list[str]:
        """The disks whose queue settings only udev itself can determine."""
        return [disk.name for disk in disks if not disk.unfit and self._doubted(disk)]

    def _doubted(self, disk: Disk) -> bool:
        known = known_to_udev(disk)
        return any(
            last_rule(self.rules, setting=setting, known=known).doubt(wanted=value)
            for setting, value in self._settings(disk).items()
            if value
        )


def queue_originals(disks: list[Disk], rows: Iterable[Row]) -> list[Original]:
    """The current settings, by a name of the disk that stays the same after a boot."""
    by_name, found = {disk.name: disk for disk in disks}, []
    for row in rows:
        if row.state == "skipped":
            continue
        name, setting = row.key.split()
        stable = stable_match(by_name[name], disks) or ("KERNEL", name)
        before = {"by": list(stable), "setting": setting, "value": row.live}
        identity = f"{stable[0]}={stable[1]} {setting}"
        found.append(Original(kind="queue", name=identity, before=before))
    return found


def _by_stable_name(rule: QueueRule | None, disk: Disk, others: list[Disk]) -> bool:
    stable = stable_match(disk, others) or ("KERNEL", disk.name)
    name = f"ENV{{{stable[0]}}}" if stable[0] != "KERNEL" else "KERNEL"
    return rule is not None and (name, "==", stable[1]) in rule.conditions


def _number(disk: Disk, setting: str, choice: Choice) -> Row:
    live, key = str(getattr(disk, setting)), f"{disk.name} {setting}"
    if not live:
        absent = "this kernel has no such setting for the device"
        return explained(_row(key, choice.value, "", state="skipped", reason=absent), choice)
    return explained(_row(key, choice.value, live), choice)


def _row(key: str, wanted: str, live: str, *, state: State | None = None, reason: str = "") -> Row:
    told: State = state or ("ok" if live == wanted else "differs")
    return Row(role="io_scheduler", key=key, wanted=wanted, live=live, state=told, reason=reason)
