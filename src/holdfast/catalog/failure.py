"""What is kept of a backup that failed: which table, why, and when. Never a manifest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

from holdfast.model.backup import Count, Line, Moment, Text
from holdfast.model.errors import ManifestInvalid
from holdfast.model.stored_json import Unreadable, as_text, damaged, parsed, typed

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA: Literal["holdfast.failure/1"] = "holdfast.failure/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A backup that did not come to its end; `part` and `relation` name what stopped it."""

    job: Line
    name: Line
    run_id: Line
    host: Line
    engine: Line
    database: Line
    started_at: Moment
    failed_at: Moment
    error: Text
    hint: Text
    exit_code: Count
    part: Line = ""
    relation: Line = ""
    parts_kept: Count = 0
    schema: Literal["holdfast.failure/1"] = SCHEMA

    @property
    def backup_id(self) -> str:
        return f"{self.job}/{self.name}"


@cache
def _adapter() -> TypeAdapter[Failure]:
    from pydantic import TypeAdapter

    return TypeAdapter(Failure)


def encode(failure: Failure) -> bytes:
    """As it is stored: what a server said is told as far as it is text, and not for ever."""
    told = replace(failure, error=as_text(failure.error), hint=as_text(failure.hint))
    return _adapter().dump_json(told, indent=1) + b"\n"


def decode(data: bytes, *, backup_id: str, key: str) -> Failure:
    """The record in `data`, which lies where that of `backup_id` does; raises `ManifestInvalid`
    naming `key`."""
    try:
        failure = typed(_adapter(), parsed(data))
    except Unreadable as error:
        raise damaged(key, error) from error
    if failure.backup_id != backup_id:
        raise ManifestInvalid(
            f"cannot read '{key}': it is that of backup '{failure.backup_id}'",
            hint="it was moved after it was written, or somebody else wrote it",
        )
    return failure
