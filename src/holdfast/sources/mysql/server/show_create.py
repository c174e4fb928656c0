"""Definitions in the server's own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.model.errors import BackupFailed
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.mysql.server.failures import StatementFailed
from holdfast.sources.mysql.server.names import quoted
from holdfast.sources.mysql.server.session import Session


@contextmanager
def as_stored(session: Session) -> Iterator[None]:
    """Definitions in the bytes that their authors sent: converted, some could not come back."""
    session.run("SET character_set_results = binary")
    with afterwards(session.run, "SET character_set_results = utf8mb4"):
        yield


def shown_by_server(
    session: Session, kind: str, name: str, *, column: int
) -> tuple[bytes, list[bytes]]:
    """The statement that SHOW CREATE gives, and all its columns."""
    try:
        rows, _ = session.fetch(f"SHOW CREATE {kind} {quoted(name)}")
    except StatementFailed as error:
        raise BackupFailed(
            f"cannot read the definition of {kind.lower()} '{name}': {error.message}",
            hint="it may have been dropped this moment; run the backup again",
        ) from error
    values = [value or b"" for value in rows[0]]
    if not values[column]:
        raise BackupFailed(
            f"cannot read the definition of {kind.lower()} '{name}': the server hides its text",
            hint="holdfast check names the missing grant",
        )
    return values[column], values
