"""What a lease object says: who owns it, or that nobody does."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt, Le, MaxLen, Predicate

from holdfast.locking.owner import Process
from holdfast.model.backup import Line, tells_moment
from holdfast.model.stored_json import Limits, Unreadable, parsed, typed

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = "holdfast.lease/1"
LIMITS = Limits(size_bytes=1 << 16, containers=100)
# A lease that is longer can only have been written to keep others out.
MOST_LEASE_SECONDS = 7 * 24 * 3600.0
TOKEN_BYTES = 200


def _is_moment_or_none(text: str) -> bool:
    return not text or tells_moment(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """One generation of a lease; `token` is the same in all generations of one owner."""

    token: Annotated[str, MaxLen(TOKEN_BYTES)]
    held: bool
    owner: Process
    run_id: Line
    started_at: Annotated[Line, Predicate(tells_moment)]
    deadline: Annotated[Line, Predicate(_is_moment_or_none)]
    lease_seconds: Annotated[float, Gt(0), Le(MOST_LEASE_SECONDS)]
    because: Line

    @property
    def described(self) -> dict[str, str]:
        """The owner in the words that `Guard.owner` uses."""
        return {
            "host": self.owner.host,
            "pid": str(self.owner.pid),
            "boot_id": self.owner.boot_id,
            "process_started": self.owner.started,
            "run_id": self.run_id,
            "started_at": self.started_at,
            "deadline": self.deadline,
        }


@cache
def _adapter() -> TypeAdapter[LeaseRecord]:
    from pydantic import TypeAdapter

    return TypeAdapter(LeaseRecord)


def encode(claim: LeaseRecord) -> bytes:
    return json.dumps({"schema": SCHEMA, **asdict(claim)}, indent=1).encode() + b"\n"


def decode(data: bytes) -> LeaseRecord | None:
    """The claim in `data`; None where it is damaged, which is no proof of anything."""
    try:
        found = parsed(data, LIMITS)
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            return None
        # Not what only looks like one: a lease that is let go of is anybody's.
        return typed(_adapter(), found) if isinstance(found.get("held"), bool) else None
    except Unreadable:
        return None
