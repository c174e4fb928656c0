"""Settings into what archives the WAL of a job and brings it back: `wiring` for that part."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from holdfast import wiring
from holdfast.config.settings import PostgresSettings, Settings
from holdfast.errors import Unsupported
from holdfast.operations.plugs import Archiving
from holdfast.wiring_stores import repository

TOKEN_BYTES = 8


def archiving(settings: Settings, name: str, *, chosen: str = "") -> Archiving:
    """What archives the WAL of job `name`: into its repository and its mirrors, or into the one
    `chosen`. Raises `UnknownJob`, and `Unsupported` where its server has no WAL."""
    job = wiring.job_settings(settings, name)
    if not isinstance(job.source, PostgresSettings):
        raise Unsupported(
            f"cannot archive the WAL of job '{name}': a {job.source.kind} server has none",
            hint="WAL is of PostgreSQL",
        )
    kept_in = wiring.store_name(settings, name, chosen=chosen)
    mirrors = () if chosen else job.mirrors
    stores = [wiring.repository_settings(settings, each) for each in (kept_in, *mirrors)]
    return Archiving(
        job=wiring.spec_of(name, job, stores[0]),
        repositories=tuple(repository(each) for each in stores),
        host=socket.gethostname(),
        clock=wiring.now,
        new_token=lambda: secrets.token_hex(TOKEN_BYTES),
    )


def spool(settings: Settings, name: str) -> Path:
    """Where files of the WAL of job `name` lie that were fetched early, or wait to be sent."""
    return settings.state_directory / "wal" / name
