"""What programs of the replication protocol die of, with its remedy."""

from __future__ import annotations

import re

from holdfast.model.errors import (
    BackupFailed,
    DatabaseUnreachable,
    GrantMissing,
    HoldfastError,
    SlotMissing,
)
from holdfast.runtime.process import ChildFailed

_NOT_ALLOWED = re.compile(
    r"no pg_hba\.conf entry for replication|must be .* replication|permission denied to start WAL"
)
_NO_ROOM = re.compile(r"exceeds max_wal_senders|remaining connection slots")
_SLOT = re.compile(r"replication slot .* (does not exist|is active)")
_RECYCLED = re.compile(r"requested WAL segment \w+ has already been removed")
_GONE = re.compile(
    r"could not connect|connection to server|terminating|could not receive data"
    r"|stream was terminated|disconnected"
)


def wire_failed(error: ChildFailed, what: str) -> HoldfastError:
    """`what` is what could not be done, as `cannot stream the cluster`."""
    message = f"{what}: {error.message}"
    if _NOT_ALLOWED.search(error.stderr):
        return GrantMissing(
            message, hint="allow the login the database 'replication' in pg_hba.conf"
        )
    if _NO_ROOM.search(error.stderr):
        return DatabaseUnreachable(message, hint="raise max_wal_senders and restart the server")
    if _SLOT.search(error.stderr):
        return SlotMissing(message, hint="one program a slot: see pg_replication_slots")
    if _RECYCLED.search(error.stderr):
        return SlotMissing(
            message,
            hint="with a slot the server keeps what was not sent: holdfast wal receive --slot NAME;"
            " then take a new backup, as WAL is missing now",
        )
    if _GONE.search(error.stderr):
        return DatabaseUnreachable(message, hint="trying later may work")
    return BackupFailed(message, hint="the server's log has the details")
