"""Sessions that dead runs of a job have left with whoever holds them beyond a run."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from holdfast.model.errors import HoldfastError, Interrupted
from holdfast.operations.context import Context
from holdfast.runtime import events


def left_sessions(context: Context, *, spare: Collection[str]) -> list[str]:
    """All but those to `spare`; none where nobody can be asked, which keeps nobody from the rest.

    Only the holder knows them all: a run that was killed early has written nothing down.
    """
    if context.sessions is None:
        return []
    try:
        return [each for each in context.sessions.left() if each not in spare]
    except Interrupted:
        raise
    except HoldfastError as error:
        events.warning("sessions_not_looked_for", problem=error.message)
        return []


def end_left(context: Context, session_ids: Sequence[str]) -> None:
    """Only for whoever holds the job: nobody else can tell whether the run is dead."""
    holder = context.sessions
    if holder is None:
        return
    for session_id in session_ids:
        try:
            holder.forget(session_id)
        except Interrupted:
            raise
        except HoldfastError as error:
            events.warning("session_not_ended", session=session_id, problem=error.message)
        else:
            events.info("session_of_dead_run_ended", session=session_id)
