"""What is known of one held session, on its way to people, to the wire and into the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from holdfast.ports.sessions import Anchor, Begun, Ended, HeldKind, HeldState

NOT_ENDED = Ended()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One held session; `owner` is a numeric user id, `ttl_seconds` what a heartbeat is good for.

    `reason` says why it is no longer open, `ended` what the server said if that was its end.
    Nobody extends `deadline`.
    """

    session_id: str
    job: str
    label: str
    server: str
    owner: int
    state: HeldState
    reason: str
    ttl_seconds: int
    lease_until: datetime
    deadline: datetime
    begun: Begun
    ended_at: datetime | None = None
    ended: Ended = NOT_ENDED

    @property
    def is_open(self) -> bool:
        return self.state is HeldState.OPEN


def to_document(record: SessionRecord) -> dict[str, Any]:
    """`record` as JSON values; `begun`, its anchor and `ended` become keys of their own."""
    found = {each.name: getattr(record, each.name) for each in fields(record)}
    begun, ended = found.pop("begun"), found.pop("ended")
    found |= {each.name: getattr(begun, each.name) for each in fields(begun)}
    found |= {each.name: getattr(ended, each.name) for each in fields(ended)}
    anchor = found.pop("anchor")
    found |= {f"server_{each.name}": getattr(anchor, each.name) for each in fields(anchor)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in found.items()
    }


def from_document(document: dict[str, Any]) -> SessionRecord:
    """The same backwards. Raises `KeyError`, `TypeError` or `ValueError` where it is none."""
    moment = datetime.fromisoformat
    anchor = Anchor(
        system_identifier=document["server_system_identifier"],
        timeline=int(document["server_timeline"]),
        started_at=moment(document["server_started_at"]),
        is_standby=bool(document["server_is_standby"]),
    )
    texts = ("start_lsn", "start_wal_file", "snapshot", "slot")
    begun = Begun(
        kind=HeldKind(document["kind"]),
        anchor=anchor,
        begun_at=moment(document["begun_at"]),
        backend_pid=int(document["backend_pid"]),
        **{name: str(document[name]) for name in texts},
    )
    ended_at = document["ended_at"]
    return SessionRecord(
        **{name: str(document[name]) for name in ("session_id", "job", "label", "server")},
        owner=int(document["owner"]),
        state=HeldState(document["state"]),
        reason=str(document["reason"]),
        ttl_seconds=int(document["ttl_seconds"]),
        lease_until=moment(document["lease_until"]),
        deadline=moment(document["deadline"]),
        begun=begun,
        ended_at=moment(ended_at) if ended_at else None,
        ended=Ended(**{each.name: str(document[each.name]) for each in fields(Ended)}),
    )
