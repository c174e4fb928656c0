"""How the last tuning of a host ended, as `playbooks/tune.yml` leaves it on the host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Literal

from holdfast.model.checked import Fits, Length
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.redaction import sanitized
from holdfast.model.stored_json import Buffer, Limits, Unreadable, gathered, parsed, typed
from holdfast.model.values import Count, Moment

SCHEMA = "holdfast.tuning-verdict/1"
# Several times the size of a verdict with everything in it.
VERDICT = Limits(size_bytes=8 << 10, containers=16)
MOST_REASONS = 5

_Reason = Annotated[str, Length(at_most=512), Fits(str.isprintable)]
_Name = Annotated[str, Length(at_most=64), Fits(str.isprintable)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningVerdict:
    """The outcome, the number of settings by their state, and why the outcome is not `ok`."""

    at: Moment
    outcome: Literal["ok", "pending", "failed"]
    counts: Annotated[dict[_Name, Count], Length(at_most=32)]
    reasons: Annotated[tuple[_Reason, ...], Length(at_most=MOST_REASONS)] = ()


def verdict_in(content: Iterable[Buffer]) -> TuningVerdict:
    """The verdict in a file of the host, its reasons fit to leave the host; raises `Unreadable`."""
    found = parsed(gathered(content, VERDICT), VERDICT)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise Unreadable(f"its schema is not {SCHEMA}")
    verdict = typed(TuningVerdict, found)
    return replace(verdict, reasons=tuple(map(sanitized, verdict.reasons)))
