"""The protocol of the session daemon: a request and an answer, each one line of JSON."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from holdfast.model import errors
from holdfast.model.errors import ConfigInvalid, HoldfastError, SessionDaemonUnreachable
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.stored_json import parsed
from holdfast.ports.sessions import Anchor, Begun, Ended, HeldKind, HeldState

VERSION = 1
# Enough for a list of sessions, each with a tablespace_map of one line for each tablespace.
MOST_ANSWER_BYTES = 8 << 20
MOST_REQUEST_BYTES = 16 << 10
SESSION_ID = re.compile(r"[0-9a-f]{32}")


class Verb(StrEnum):
    """The requests that the daemon knows."""

    BEGIN = "begin"
    JOIN = "join"
    HEARTBEAT = "heartbeat"
    END = "end"
    ABORT = "abort"
    LIST = "list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; its verb decides which fields count.

    An empty `kind` means the kind of the job's engine, an empty `database` the one of the job's
    dsn. `keep` ends a backup but not its session. `all` lists sessions that are not open too.
    """

    verb: Verb
    session_id: str = ""
    job: str = ""
    label: str = ""
    kind: str = ""
    database: str = ""
    fast: bool = False
    ttl_seconds: int = 0
    keep: bool = False
    all: bool = False


def encode_request(request: Request) -> bytes:
    return _line({"version": VERSION} | asdict(request))


def decode_request(line: bytes) -> Request:
    """Parse a request; raises `ConfigInvalid`, for the client to see, if it is malformed."""
    try:
        document = parsed(line)
        version = document.pop("version")
        if version != VERSION:
            raise _not_understood(f"it has protocol version {version}, this daemon has {VERSION}")
        request = Request(**document | {"verb": Verb(document["verb"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _not_understood(f"{type(error).__name__}: {error}") from error
    for name, value in asdict(Request(verb=request.verb)).items():
        if name != "verb" and type(getattr(request, name)) is not type(value):
            raise _not_understood(f"'{name}' is not of type {type(value).__name__}")
    return request


def _not_understood(cause: str) -> HoldfastError:
    return ConfigInvalid(
        f"cannot understand the request: {cause}",
        hint="use the same release of command and daemon: restart holdfast-sessiond",
    )


def encode_answer(content: dict[str, Any]) -> bytes:
    return _line({"version": VERSION, **content})


def encode_error(error: HoldfastError) -> bytes:
    told = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    return _line({"version": VERSION, "error": told})


def decode_answer(line: bytes) -> dict[str, Any]:
    """The content of an answer; raises the error in it, as the daemon raised it.

    Raises `SessionDaemonUnreachable` if the answer is malformed.
    """
    try:
        document: dict[str, Any] = parsed(line)
        told = document.get("error")
        error = _KINDS[told["kind"]](told["message"], hint=told["hint"]) if told else None
    except (ValueError, TypeError, KeyError, AttributeError) as cause:
        raise SessionDaemonUnreachable(
            "cannot understand the answer of the session daemon",
            hint="use the same release of command and daemon: restart holdfast-sessiond",
        ) from cause
    if error is not None:
        raise error
    return document


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


# Errors travel by class name. Only these classes can be named, whatever an answer says.
_KINDS: dict[str, type[HoldfastError]] = {
    name: found
    for name, found in vars(errors).items()
    if isinstance(found, type) and issubclass(found, HoldfastError)
}


NOT_ENDED = Ended()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One session; `owner` is a numeric user id, `ttl_seconds` how long a heartbeat renews it.

    `reason` says why it is no longer open. `ended` is what the server said at the end of the
    backup. `deadline` is never extended.
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
    """`record` as one flat JSON object; the fields of `begun`, `anchor` and `ended` become keys."""
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
    """The inverse of `to_document`; raises `KeyError`, `TypeError` or `ValueError` if malformed."""
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
