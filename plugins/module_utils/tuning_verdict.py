"""The verdict that the last tuning leaves on a host, for the statuses of its jobs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .original_state import FOLDER, open_folder

SCHEMA = "holdfast.tuning-verdict/1"
NAME = "verdict.json"
MOST_REASONS, REASON_LENGTH = 5, 300
STATES = ("ok", "changed", "skipped", "pending", "failed")


def verdict(rows: Iterable[Mapping[str, str]], *, failure: str = "", at: str) -> dict[str, Any]:
    """The outcome of a run, the number of rows by their state, and why the outcome is not `ok`."""
    known = list(rows)
    counted = Counter(_state(row) for row in known)
    counts = {state: counted[state] for state in STATES}
    outcome = "failed" if failure or counts["failed"] else "pending" if counts["pending"] else "ok"
    told = [failure] if failure else []
    for state in ("failed", "pending"):
        told += [_reason(row) for row in known if _state(row) == state]
    reasons = [_printable(reason) for reason in told[:MOST_REASONS]]
    return {"schema": SCHEMA, "at": at, "outcome": outcome, "counts": counts, "reasons": reasons}


def leave(document: Mapping[str, Any], *, folder: Path = FOLDER) -> None:
    """Write the verdict atomically, for everybody to read."""
    open_folder(folder)
    temporary = folder / f"{NAME}.new"
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "w") as out:
        os.fchmod(out.fileno(), 0o644)
        json.dump(document, out, indent=2, sort_keys=True)
        out.write("\n")
    temporary.rename(folder / NAME)


def forget(*, folder: Path = FOLDER) -> None:
    """Remove the verdict: it was about a state that the host is no longer in."""
    (folder / NAME).unlink(missing_ok=True)


def _state(row: Mapping[str, str]) -> str:
    return "failed" if row["state"] == "differs" else row["state"]


def _reason(row: Mapping[str, str]) -> str:
    return f"{row['role']} {row['key']}: {row['reason'] or 'not as wanted'}"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:REASON_LENGTH]
