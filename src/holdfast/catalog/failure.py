"""What is kept of a backup that failed: which table, why, and when. Never a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from holdfast.errors import ManifestInvalid

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = "holdfast.failure/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A backup that did not come to its end; `part` and `relation` name what stopped it."""

    job: str
    name: str
    run_id: str
    host: str
    engine: str
    database: str
    started_at: datetime
    failed_at: datetime
    error: str
    hint: str
    exit_code: int
    part: str = ""
    relation: str = ""
    parts_kept: int = 0
    schema: str = SCHEMA

    @property
    def backup_id(self) -> str:
        return f"{self.job}/{self.name}"


@cache
def _adapter() -> TypeAdapter[Failure]:
    from pydantic import TypeAdapter

    return TypeAdapter(Failure)


def encode(failure: Failure) -> bytes:
    return _adapter().dump_json(failure, indent=1) + b"\n"


def decode(data: bytes, *, backup_id: str, key: str) -> Failure:
    """The record in `data`, which lies where that of `backup_id` does; raises `ManifestInvalid`
    naming `key`."""
    try:
        failure = _adapter().validate_json(data)
    except ValueError as error:
        raise ManifestInvalid(f"cannot read '{key}': it is damaged") from error
    if failure.backup_id != backup_id:
        raise ManifestInvalid(
            f"cannot read '{key}': it is that of backup '{failure.backup_id}'",
            hint="it was moved after it was written, or somebody else wrote it",
        )
    return failure
