"""Build from the settings the context of a job's drills, and the throw-away servers for them."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.config.drill import DrillSettings
from holdfast.locking.host_lock import FlockGuard
from holdfast.model.backup import JOB_NAME, POSTGRES_CLUSTER, Manifest
from holdfast.model.errors import ConfigInvalid, Unsupported
from holdfast.model.lazy_dataclass import dataclass
from holdfast.operations.drill.database import DrillContext, DrillHost
from holdfast.operations.drill.recovery import DrillRecovery
from holdfast.operations.drill.rooms import Rooms
from holdfast.operations.restore.windows import WindowsContext
from holdfast.runtime.installed import installed_version
from holdfast.wiring import limits
from holdfast.wiring.gauges import gauges_of
from holdfast.wiring.keys import secret_places
from holdfast.wiring.reading import drills_of, index_of, repository_of
from holdfast.wiring.repositories import repository_settings, store_name, unknown_job

if TYPE_CHECKING:
    from holdfast.config.settings import Settings
    from holdfast.operations.verify.backup import BackupReader
    from holdfast.pipeline.encryption import Identities
    from holdfast.ports.drill import DrillRoom, DrillServer


def drill_context(
    settings: Settings,
    job: str,
    reader: BackupReader,
    *,
    chosen: str = "",
    hidden: Sequence[Path] = (),
) -> DrillContext:
    """The context of the drills of `job`; opens no connection to its source.

    No server of them sees the files of `hidden`, nor any other secret of this host.
    The job may be no longer configured, or that of another host: its repository is enough. Raises
    `UnknownJob`, and `ConfigInvalid` if this host cannot sign the records.
    """
    # Not a path either: the lock and the rooms of a job lie in folders of its name.
    if not JOB_NAME.fullmatch(job):
        raise unknown_job(settings, job)
    store = repository_settings(settings, store_name(settings, job, chosen=chosen))
    if store.authentication is not None and not store.authentication.signs:
        raise ConfigInvalid(
            f"cannot drill job '{job}': this host has no key to sign the record with",
            hint="name one in authentication.key_file; holdfast keys signing FILE makes it",
        )
    locks = settings.state_directory / "drill-locks"
    return DrillContext(
        job=job,
        reader=reader,
        guard=FlockGuard(locks, clock=reader.clock, run_id=secrets.token_hex(16)),
        open_server=DrillServers(settings=settings, job=job, reader=reader, chosen=chosen).open,
        host=_host(settings, job, hidden=[*secret_places(settings), *hidden]),
        gauges=gauges_of(settings, job),
    )


def _host(settings: Settings, job: str, *, hidden: Sequence[Path]) -> DrillHost:
    asked = drill_settings(settings, job)
    stores = [each for each in settings.repositories.values() if each.kind == "local"]
    return DrillHost(
        name=socket.gethostname(),
        version=installed_version(),
        rooms=Rooms(
            folder=asked.folder or settings.state_directory / "drills",
            job=job,
            memory_bytes=(asked.memory_limit_mb or 0) << 20,
            apart=[each.path for each in stores],
            hidden=hidden,
        ),
        user_of=lambda manifest: _user(asked, manifest),
        workers=limits.reading_budget(settings, job).slots,
    )


def drill_settings(settings: Settings, job: str) -> DrillSettings:
    """The drill settings of `job`; the defaults for a job that is not configured."""
    found = settings.jobs.get(job)
    return found.drill if found else DrillSettings()


def windows_context(
    settings: Settings, job: str, *, identities: Identities | None = None, chosen: str = ""
) -> WindowsContext:
    """The context of the windows of `job`, which need not be configured any more."""
    overview = index_of(settings, job, chosen=chosen).overview(job)
    return WindowsContext(
        job=job,
        repository=repository_of(settings, job, chosen=chosen),
        summaries=overview.summaries,
        damaged=overview.damaged,
        drills=drills_of(settings, job, chosen=chosen).records,
        identities=identities,
    )


def _user(asked: DrillSettings, manifest: Manifest) -> str:
    """The user who runs the server: another one only for root, as servers refuse root."""
    if os.geteuid() != 0:
        return ""
    return asked.user or USERS.get(manifest.server.kind, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillServers:
    """Makes the servers for the drills of `job`; `reader` reads its repository."""

    settings: Settings
    job: str
    reader: BackupReader
    chosen: str = ""

    def open(self, manifest: Manifest, room: DrillRoom, until: datetime | None) -> DrillServer:
        """Obeys `ports.drill.OpenServer`."""
        opens = SERVERS.get(manifest.server.kind)
        if opens is None:
            raise Unsupported(
                f"cannot drill '{manifest.backup_id}': a backup of kind '{manifest.server.kind}' is"
                " not drilled yet",
                hint="restore it by hand into a server of its own",
            )
        return opens(Wanted(servers=self, manifest=manifest, room=room, until=until))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One server to make: for which backup, where, and the moment to which a cluster recovers."""

    servers: DrillServers
    manifest: Manifest
    room: DrillRoom
    until: datetime | None


def _postgres(wanted: Wanted) -> DrillServer:
    from holdfast.sources.postgres.drill.logical import LogicalDrillServer

    return LogicalDrillServer(wanted.manifest, wanted.room)


def _cluster(wanted: Wanted) -> DrillServer:
    from holdfast.sources.postgres.drill.physical import PhysicalDrillServer, WalSupply
    from holdfast.wiring.wal import fetching

    servers = wanted.servers
    recovery = DrillRecovery(
        manifest=wanted.manifest,
        reader=servers.reader,
        context=lambda: fetching(servers.settings, servers.job, chosen=servers.chosen),
        until=wanted.until,
    )
    supply = WalSupply(plan=recovery.plan, fetching=recovery.fetching)
    return PhysicalDrillServer(wanted.manifest, wanted.room, supply)


def _mysql(wanted: Wanted) -> DrillServer:
    from holdfast.sources.mysql.drill.servers import server_for

    return server_for(wanted.manifest, wanted.room)


SERVERS: dict[str, Callable[[Wanted], DrillServer]] = {
    "postgres": _postgres,
    POSTGRES_CLUSTER: _cluster,
    "mysql": _mysql,
    "mariadb": _mysql,
}
# Who Debian's packages run each server as.
USERS = {
    "postgres": "postgres",
    POSTGRES_CLUSTER: "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
}
