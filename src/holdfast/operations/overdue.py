"""Notice a job whose backups have stopped, from what this host remembers of its runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from holdfast.model.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from holdfast.ports.host_state import RunHistory
    from holdfast.ports.notify import Outbox

RUNS_SEEN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """A job without a good backup since then; `is_new` if nobody was told so far."""

    job: str
    since: datetime
    is_new: bool = True


def overdue(
    history: RunHistory, outbox: Outbox, job: str, *, after: timedelta, now: datetime
) -> Overdue | None:
    """The job if its last good run ended longer than `after` ago; new once for each good run.

    A job that never had one counts from the first time that this was asked. It is not the
    repository that is asked, so the answer also comes while that is down.
    """
    runs = history.last(job, count=RUNS_SEEN)
    good = next((run for run in runs if run.outcome == "ok"), None)
    # The history keeps the last runs only: many that failed or were skipped push the good one out.
    counted = int((good.finished_at if good is not None else now).timestamp())
    noted = outbox.noted(f"{job}/counts-from", counted, replace=good is not None)
    if good is not None:
        since = good.finished_at
    else:
        since = datetime.fromtimestamp(noted, UTC) if noted is not None else now
    if now - since <= after:
        return None
    number = int(since.timestamp())
    told = outbox.noted(f"{job}/overdue", number, replace=True)
    return Overdue(job=job, since=since, is_new=told != number)
