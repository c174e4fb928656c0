"""`holdfast list`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from holdfast.catalog.manifest import Failure
from holdfast.catalog.manifest_index import Overview
from holdfast.cli.context import (
    JsonOption,
    Session,
    SomeJob,
    end_unseen,
    print_document,
    session_of,
)
from holdfast.cli.render import (
    BACKUP_COLUMNS,
    Document,
    backup_row,
    moment,
    of_backup,
    of_damaged,
    of_unseen,
    table_of,
)
from holdfast.model.backup import Summary

if TYPE_CHECKING:
    from rich.table import Table


def list_backups(
    context: typer.Context, job: SomeJob = None, *, as_json: JsonOption = False
) -> None:
    """List finished backups, newest first: those of JOB, or of every repository.

    A run that failed and a backup whose manifest is damaged are shown as such, never as good. One
    repository of several that cannot be reached does not hide the others; the exit code is its.

    \b
    holdfast list
    holdfast list shop --json | jq -r '.backups[0].backup'
    """
    from holdfast.wiring.reading import index_of  # heavy, as in `Session`

    session = session_of(context)
    found, unseen = session.of_each_repository(
        job, lambda name: index_of(session.settings, job or "", chosen=name).overview(job or "")
    )
    held = any(each.summaries or each.damaged or each.failures for each in found.values())
    session.require_known(job, holds_something=held)
    if as_json:
        print_document("list", _document(found) | of_unseen(unseen))
    else:
        _show_list(session, found)
        session.tell_unseen(unseen)
    end_unseen(unseen)


def _show_list(session: Session, overviews: Mapping[str, Overview]) -> None:
    summaries = [(name, each) for name, found in overviews.items() for each in found.summaries]
    if summaries:
        session.show(_listed(summaries, one_repository=len(overviews) == 1))
    elif not any(each.damaged or each.failures for each in overviews.values()):
        session.say("there are no backups yet; make one: holdfast backup JOB")
    for _, each in summaries:
        if each.parent:
            session.say(f"incremental: {each.backup_id} needs {each.parent}")
    for overview in overviews.values():
        _tell_bad(session, overview)


def _listed(summaries: list[tuple[str, Summary]], *, one_repository: bool) -> Table:
    """Newest first; where there are several repositories each row says of which it is."""
    summaries.sort(key=lambda named: named[1].snapshot_at, reverse=True)
    if one_repository:
        return table_of(BACKUP_COLUMNS, [backup_row(each) for _, each in summaries])
    rows = [(*backup_row(each), name) for name, each in summaries]
    return table_of((*BACKUP_COLUMNS, "REPOSITORY"), rows)


def _tell_bad(session: Session, overview: Overview) -> None:
    for failed in overview.failures:
        at = failed.relation or failed.part
        where = f" at '{at}'" if at else ""
        kept = f" ({failed.parts_kept} parts kept for --resume)" if failed.parts_kept else ""
        session.say(f"failed: {failed.backup_id}{where}: {failed.error}{kept}")
    for broken in overview.damaged:
        session.say(f"damaged: {broken.backup_id}: {broken.problem}")


def _document(overviews: Mapping[str, Overview]) -> Document:
    """What several repositories hold, newest first, by their names."""
    summaries = [(name, each) for name, found in overviews.items() for each in found.summaries]
    summaries.sort(key=lambda named: named[1].snapshot_at, reverse=True)
    failures = [each for found in overviews.values() for each in found.failures]
    damaged = tuple(each for found in overviews.values() for each in found.damaged)
    return {
        "backups": [{**of_backup(each), "repository": name} for name, each in summaries],
        "failed": _of_failures(failures),
        "damaged": of_damaged(damaged),
    }


def _of_failures(failures: Sequence[Failure]) -> list[Document]:
    return [
        {
            "backup": each.backup_id,
            "database": each.database,
            "failed_at": moment(each.failed_at),
            "part": each.part or None,
            "table": each.relation or None,
            "error": each.error,
            "hint": each.hint or None,
            "exit_code": each.exit_code,
            "parts_kept": each.parts_kept,
        }
        for each in failures
    ]
