"""One line of JSON each way: what is asked of the session daemon, and what it answers."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from holdfast.model import errors
from holdfast.model.errors import ConfigInvalid, HoldfastError, SessionDaemonUnreachable
from holdfast.model.stored_json import parsed

VERSION = 1
# A tablespace_map is a line for each tablespace; a list holds some hundred sessions at most.
MOST_ANSWER_BYTES = 8 << 20
MOST_REQUEST_BYTES = 16 << 10
SESSION_ID = re.compile(r"[0-9a-f]{32}")


class Verb(StrEnum):
    """What can be asked."""

    BEGIN = "begin"
    JOIN = "join"
    HEARTBEAT = "heartbeat"
    END = "end"
    ABORT = "abort"
    LIST = "list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question; which fields count depends on the verb.

    `kind` may be empty: then the job's engine decides, and `database`: then its dsn does. `keep`
    ends a backup but not its session; `all` lists what is no longer open too.
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
    """Raises `ConfigInvalid` where it is none: the message goes back to whoever asked."""
    try:
        document = parsed(line)
        version = document.pop("version")
        if version != VERSION:
            raise _not_understood(f"it speaks version {version}, this daemon {VERSION}")
        request = Request(**document | {"verb": Verb(document["verb"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _not_understood(f"{type(error).__name__}: {error}") from error
    for name, value in asdict(Request(verb=request.verb)).items():
        if name != "verb" and type(getattr(request, name)) is not type(value):
            raise _not_understood(f"'{name}' is no {type(value).__name__}")
    return request


def _not_understood(cause: str) -> HoldfastError:
    return ConfigInvalid(
        f"cannot understand the request: {cause}",
        hint="are the command and the daemon of the same release? restart holdfast-sessiond",
    )


def encode_answer(content: dict[str, Any]) -> bytes:
    return _line({"version": VERSION, **content})


def encode_error(error: HoldfastError) -> bytes:
    told = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    return _line({"version": VERSION, "error": told})


def decode_answer(line: bytes) -> dict[str, Any]:
    """The content of an answer; raises the error that it tells of, as the daemon raised it."""
    try:
        document: dict[str, Any] = parsed(line)
        told = document.get("error")
        error = _KINDS[told["kind"]](told["message"], hint=told["hint"]) if told else None
    except (ValueError, TypeError, KeyError, AttributeError) as cause:
        raise SessionDaemonUnreachable(
            "cannot understand what the session daemon answers",
            hint="are the command and the daemon of the same release? restart holdfast-sessiond",
        ) from cause
    if error is not None:
        raise error
    return document


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


# By name over the wire: only classes of ours, whatever an answer says.
_KINDS: dict[str, type[HoldfastError]] = {
    name: found
    for name, found in vars(errors).items()
    if isinstance(found, type) and issubclass(found, HoldfastError)
}
