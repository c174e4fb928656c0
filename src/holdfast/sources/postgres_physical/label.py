"""What the part of `backup_label` tells of a cluster besides its content: for a restore to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import VerifyFailed
from holdfast.model import Part
from holdfast.sources.postgres_physical.restore_folders import require_oid
from holdfast.sources.postgres_physical.snapshot import LABEL_FILE
from holdfast.stored_json import MANIFEST, Unreadable, parsed

TABLESPACES, VANISHED = "tablespaces", "vanished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Where tablespaces were, by their OIDs, and which files were dropped during the backup."""

    tablespaces: Mapping[str, str] = field(default_factory=dict)
    vanished: frozenset[str] = frozenset()


def told_by(parts: Sequence[Part]) -> Told:
    """The one tar of pg_basebackup has its label inside, and no tablespaces.

    Raises `VerifyFailed` for what nobody has written.
    """
    label = next((part for part in parts if part.details.get("path") == LABEL_FILE), None)
    if label is None:
        return Told()
    spaces = _read(label, TABLESPACES, "{}")
    vanished = _read(label, VANISHED, "[]")
    if not isinstance(spaces, dict) or not isinstance(vanished, list):
        raise _damaged(label)
    return Told(
        tablespaces={require_oid(oid): str(place) for oid, place in spaces.items()},
        vanished=frozenset(str(path) for path in vanished),
    )


def _read(label: Part, name: str, otherwise: str) -> Any:
    try:
        return parsed(label.details.get(name, otherwise), MANIFEST, of_files=True)
    except Unreadable as error:
        raise _damaged(label) from error


def _damaged(label: Part) -> VerifyFailed:
    return VerifyFailed(
        f"cannot trust part '{label.name}': what it tells of the cluster cannot be read",
        hint="restore from another backup",
    )
