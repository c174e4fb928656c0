"""How a server archives its WAL: what it is asked, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from holdfast.model.wal_archive import Archiver
from holdfast.sources.postgres.server.local_session import LocalSession, NotAnswered, opened

STATE = """
SELECT (SELECT system_identifier FROM pg_control_system())::text,
       current_setting('archive_mode'), pg_is_in_recovery(),
       current_setting('archive_command') NOT IN ('', '(disabled)')
         OR coalesce(current_setting('archive_library', true), '') <> '',
       archived_count, coalesce(last_archived_wal, ''), last_archived_time,
       failed_count, coalesce(last_failed_wal, ''), last_failed_time, stats_reset, now()
FROM pg_stat_archiver
"""
WAITING = """
SELECT count(*), min(modification) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'
"""
# The columns of `STATE` that a server leaves empty: three moments.
MAY_BE_NULL = {6, 9, 10}
MAY_NOT = "42501"


def archiver_in(state: Sequence[Any], waiting: tuple[int, datetime | None]) -> Archiver:
    """The answers to both questions, as values; `waiting` is 0 where a login may not ask."""
    identifier, mode, is_standby, is_told_how, *counted = state
    archived, last, last_at, failed, last_failed, last_failed_at, since, now = counted
    return Archiver(
        cluster=identifier,
        mode=mode,
        is_standby=is_standby,
        is_told_how=is_told_how,
        archived=archived,
        last_archived=last,
        last_archived_at=last_at,
        failed=failed,
        last_failed=last_failed,
        last_failed_at=last_failed_at,
        counted_since=since,
        waiting=waiting[0],
        waiting_since=waiting[1],
        now=now,
    )


def asked_on_socket(dsn: str, *, application_name: str) -> Archiver | None:
    """The archiver of a server that answers without the driver; None for all others."""
    try:
        with opened(dsn, application_name=application_name) as session:
            (state,) = session.rows(STATE)
            return archiver_in(_typed(state), _waiting(session))
    except (NotAnswered, ValueError, TypeError):
        return None


def _typed(state: Sequence[str | None]) -> list[Any]:
    """The texts as values; raises `ValueError` or `TypeError` for those that are none."""
    if any(each is None for at, each in enumerate(state) if at not in MAY_BE_NULL):
        raise ValueError("a value is missing")
    texts, standby, told_how = state[:2], state[2], state[3]
    archived, last, last_at, failed, last_failed, *moments = state[4:]
    return [
        *texts,
        standby == "t",
        told_how == "t",
        int(archived or ""),
        last,
        _moment(last_at),
        int(failed or ""),
        last_failed,
        *map(_moment, moments),
    ]


def _moment(text: str | None) -> datetime | None:
    found = None if text is None else datetime.fromisoformat(text)
    if found is not None and found.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return found


def _waiting(session: LocalSession) -> tuple[int, datetime | None]:
    try:
        ((count, since),) = session.rows(WAITING)
    except NotAnswered as refused:
        if refused.sqlstate != MAY_NOT:
            raise
        return 0, None
    return int(count or ""), _moment(since)
