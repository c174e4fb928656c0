"""`holdfast restore` to a point in time: its options, and the recovery that they request."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.context import Session, duration_option, grouped
from holdfast.cli.documents import Document
from holdfast.model.backup import POSTGRES_CLUSTER, Manifest
from holdfast.model.errors import HoldfastError, Unsupported
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.recovery import (
    ASIDE,
    Action,
    Reached,
    Recovery,
    RecoveryTarget,
    ServerStarter,
    moment_of,
)
from holdfast.model.wal import Position
from holdfast.model.windows import Forecast
from holdfast.operations.restore.recovery import Way, WayAhead, require_reachable
from holdfast.runtime import clock, events
from holdfast.runtime.tablespaces import WhenInUse

PANEL = "Point in time (clusters; docs/wal.md)"
START_TIMEOUT = timedelta(minutes=30)


class End(StrEnum):
    """Goals that take no value."""

    LATEST = RecoveryTarget.LATEST.value
    IMMEDIATE = RecoveryTarget.IMMEDIATE.value


def _option(*names: str, **words: Any) -> Any:
    return typer.Option(*names, rich_help_panel=PANEL, **words)


Target = Annotated[
    End | None,
    _option(
        "--target", help="latest: replay all WAL. immediate: only as much as consistency needs."
    ),
]
TargetTime = Annotated[
    str,
    _option("--target-time", metavar="TIME", help="A time with its zone: '2026-11-21 18:00:00Z'."),
]
TargetLsn = Annotated[
    str, _option("--target-lsn", metavar="LSN", help="A position in the WAL: 0/3000158.")
]
TargetName = Annotated[
    str, _option("--target-name", metavar="NAME", help="A name given to pg_create_restore_point.")
]
TargetTimeline = Annotated[
    str,
    _option(
        "--target-timeline",
        metavar="WHICH",
        help="The timeline to follow: latest, current or a number.",
    ),
]
TargetAction = Annotated[
    Action, _option("--target-action", help="What the server does at the target.")
]
Start = Annotated[
    bool,
    _option("--start", help="Start a server on the folder, and wait until it reaches the target."),
]
StartOptions = Annotated[
    str, _option("--start-options", metavar="TEXT", help="Options for this server: '-p 5433'.")
]
StartTimeout = Annotated[
    timedelta,
    _option(
        "--start-timeout",
        metavar="TIME",
        parser=duration_option,
        show_default=False,
        help="How long --start waits: 30m, 2h. Default: 30m.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The recovery options as given."""

    goal: RecoveryTarget | None
    value: str
    timeline: str
    action: Action
    start: bool
    start_options: str
    start_timeout: timedelta


def asked(
    *,
    target: Target = None,
    target_time: TargetTime = "",
    target_lsn: TargetLsn = "",
    target_name: TargetName = "",
    target_timeline: TargetTimeline = "latest",
    target_action: TargetAction = Action.PAUSE,
    start: Start = False,
    start_options: StartOptions = "",
    start_timeout: StartTimeout = START_TIMEOUT,
) -> Asked:
    """The options as one value; raises `typer.BadParameter`."""
    goals = [
        (RecoveryTarget(target.value) if target else None, ""),
        (RecoveryTarget.TIME if target_time else None, target_time),
        (RecoveryTarget.LSN if target_lsn else None, target_lsn),
        (RecoveryTarget.NAME if target_name else None, target_name),
    ]
    given = [(goal, value) for goal, value in goals if goal is not None]
    if len(given) > 1:
        raise typer.BadParameter("one target is enough", param_hint="--target")
    goal, value = given[0] if given else (None, "")
    return Asked(
        goal=goal,
        value=_checked(goal, value),
        timeline=_timeline(target_timeline),
        action=target_action,
        start=start,
        start_options=start_options,
        start_timeout=start_timeout,
    )


recoverable = grouped(asked, name="recovery")
"""Add these options to a command, which receives them as `recovery`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """The planned recovery of a cluster, and where its server is once it runs.

    `settings` are for the restored cluster; `notes` name what may hinder the recovery.
    """

    settings: Mapping[str, str] | None = None
    plan: Recovery | None = None
    notes: Sequence[str] = ()
    reached: Reached | None = None
    forecast: Forecast | None = None

    @property
    def document(self) -> Document:
        """The JSON of the recovery target, and of how far a started server has come."""
        plan, reached, forecast = self.plan, self.reached, self.forecast
        if plan is None and reached is None:
            return {}
        return {
            "recovery": {
                "target": plan.told if plan else None,
                "timeline": plan.timeline if plan else None,
                "action": plan.action.value if plan else None,
                "state": reached.state if reached else None,
                "lsn": (reached.lsn or None) if reached else None,
                "log": reached.log if reached else None,
                "notes": list(self.notes),
                "wal_bytes": forecast.wal_bytes if forecast else None,
                "expected_seconds": forecast.expected.seconds if forecast else None,
                "measured_by": (forecast.expected.drill or None) if forecast else None,
            }
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PointInTime:
    """The requested recovery of a backup that is restored into the folder `to`."""

    session: Session
    manifest: Manifest
    to: str
    asked: Asked
    identity: Path | None

    def planned(self) -> Recovered:
        """The plan, after proving that the target can be reached.

        Raises `TargetOutOfReach`, `TargetNotEmpty`, `Unsupported`.
        """
        if self.asked.start:
            _require_cluster(self.manifest)
            self._starter().check(self.manifest.server.version)
        if self.asked.goal is None:
            return Recovered(settings=ASIDE if self.asked.start else None)
        from holdfast.wiring import wal as wiring_wal

        spaces = wiring_wal.tablespaces_of(self.to)
        arguments = self._arguments(_tablespaces(self.asked.goal, spaces))
        recovery = Recovery(
            goal=self.asked.goal,
            value=self.asked.value,
            timeline=self.asked.timeline,
            action=self.asked.action,
            restore_command=wiring_wal.restore_command(_program(), arguments),
        )
        way = self._way(recovery)
        notes = self._notes(recovery, way, is_renamed=spaces is not None)
        return Recovered(
            settings=recovery.settings,
            plan=recovery,
            notes=notes,
            forecast=self._forecast(recovery, way),
        )

    def _way(self, recovery: Recovery) -> Way:
        repository = self.session.repository(self.manifest.job)
        return require_reachable(repository, self.manifest, recovery, clock=clock.now)

    def _forecast(self, recovery: Recovery, way: Way) -> Forecast | None:
        from holdfast.operations.restore.windows import forecast
        from holdfast.wiring.drill import windows_context

        settings, chosen = self.session.settings, self.session.chosen_repository
        try:
            context = windows_context(settings, self.manifest.job, chosen=chosen)
            return forecast(context, self.manifest, recovery, way=way)
        except HoldfastError as error:
            # A restore needs no forecast.
            events.debug("recovery_not_estimated", problem=error.message)
            return None

    def _notes(self, recovery: Recovery, way: Way, *, is_renamed: bool) -> list[str]:
        repository = self.session.repository(self.manifest.job)
        notes = list(way.notes)
        if way.wal is not None and not is_renamed:
            ahead = WayAhead(
                repository=repository,
                manifest=self.manifest,
                recovery=recovery,
                wal=way.wal,
                path=way.path,
                identities=self.session.identities(self.identity),
            )
            notes += ahead.require_free_folders(must_be_there=self.asked.start)
        return notes

    def started(self, planned: Recovered, *, is_quiet: bool) -> Recovered:
        """Start a server on the restored folder if requested; returns the plan with its state."""
        if not self.asked.start:
            return planned

        def tell(doing: str) -> None:
            if is_quiet:
                events.info("server_start", doing=doing)
            else:
                self.session.say(doing)

        reached = self._starter().start(
            planned.plan,
            cluster=self._cluster,
            within=self.asked.start_timeout,
            tell=tell,
        )
        return replace(planned, reached=reached)

    def _starter(self) -> ServerStarter:
        from holdfast.wiring import wal as wiring_wal

        return wiring_wal.starter(
            self.session.settings, self.manifest.job, self.to, options=self.asked.start_options
        )

    @property
    def _cluster(self) -> str:
        return self.manifest.proof.cluster

    def _arguments(self, tablespaces: str) -> list[str]:
        from holdfast.wiring.keys import identity_file

        before = ["--config", str(self.session.config.absolute())]
        if self.session.chosen_repository:
            before += ["--repository", self.session.chosen_repository]
        after = ["--cluster", self._cluster, "--tablespaces", tablespaces]
        key = self.identity or identity_file()
        if self.manifest.recipients and key is not None:
            after += ["--identity", str(key.absolute())]
        return [*before, "wal", "get", self.manifest.job, *after]


def _require_cluster(manifest: Manifest) -> None:
    if manifest.server.kind != POSTGRES_CLUSTER:
        raise Unsupported(
            f"cannot start a server on '{manifest.backup_id}': it is not a backup of a cluster",
            hint="--start is for backups by method: physical",
        )


def _checked(goal: RecoveryTarget | None, value: str) -> str:
    try:
        if goal is RecoveryTarget.TIME:
            return str(moment_of(value))
        if goal is RecoveryTarget.LSN:
            return str(Position.parse(value))
    except ValueError as error:
        example = "'2026-11-21 18:00:00Z'" if goal is RecoveryTarget.TIME else "0/3000158"
        raise typer.BadParameter(f"{error}: write it like {example}") from error
    return value


def _timeline(text: str) -> str:
    if text not in ("latest", "current") and not text.isdigit():
        raise typer.BadParameter(
            f"'{text}' is not latest, current or a number", param_hint="--target-timeline"
        )
    return text


def _program() -> list[str]:
    """This program by its absolute path: a server may have no useful PATH."""
    found = shutil.which(sys.argv[0])
    if found is not None and Path(found).name == "holdfast":
        return [os.path.abspath(found)]  # noqa: PTH100 - a link stays a link: what it leads to may move
    return [sys.executable, "-c", "from holdfast.cli.entry_point import main; main()"]


def _tablespaces(goal: RecoveryTarget, named: Path | None) -> str:
    """What `wal get` does about tablespaces that WAL creates, also in WAL archived later."""
    if named is not None:
        return str(named)
    # Without a target, a recovery that ends early would look complete.
    return WhenInUse.REFUSE.value if goal is RecoveryTarget.LATEST else WhenInUse.END.value
