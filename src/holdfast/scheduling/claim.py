"""What a lease object says: who owns it, or that nobody does."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from holdfast.scheduling.owner import Process

SCHEMA = "holdfast.lease/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One generation of a lease; `token` is the same in all generations of one owner."""

    token: str
    held: bool
    owner: Process
    run_id: str
    started_at: str
    deadline: str
    lease_seconds: float
    because: str

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


def encode(claim: Claim) -> bytes:
    return json.dumps({"schema": SCHEMA, **asdict(claim)}, indent=1).encode() + b"\n"


def decode(data: bytes) -> Claim | None:
    """The claim in `data`; None where it is damaged, which is no proof of anything."""
    try:
        fields = json.loads(data)
        if fields.pop("schema") != SCHEMA or not isinstance(fields["held"], bool):
            return None
        owner = Process(**fields.pop("owner"))
        claim = Claim(owner=owner, **fields)
        return claim if claim.lease_seconds > 0 and owner.pid > 0 else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
