"""What the part of `backup_label` tells of a cluster besides its content: for a restore to know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.model.backup import Part
from holdfast.model.errors import VerifyFailed
from holdfast.model.part_gaps import VANISHED
from holdfast.model.stored_json import MANIFEST, Unreadable, parsed
from holdfast.sources.postgres.files.restore_folders import require_oid

LABEL_FILE = "backup_label"
TABLESPACES, LINKS, MODE = "tablespaces", "links", "mode"
_MODE = re.compile(r"[0-7]{1,4}")
_IN_TABLESPACE = re.compile(r"pg_tblspc/([1-9][0-9]{0,9})/.+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Where tablespaces were, by their OIDs; which files were dropped during the backup; where
    links led that come back as what they led to; and the rights of the data directory."""

    tablespaces: Mapping[str, str] = field(default_factory=dict)
    vanished: frozenset[str] = frozenset()
    links: Mapping[str, str] = field(default_factory=dict)
    mode: int = 0

    @property
    def details(self) -> dict[str, str]:
        return {
            TABLESPACES: json.dumps(dict(self.tablespaces)),
            VANISHED: json.dumps(sorted(self.vanished)),
            LINKS: json.dumps(dict(self.links)),
            MODE: f"{self.mode:o}",
        }


def tablespaces_in(folders: Iterable[str]) -> dict[str, str]:
    """Those that folders were copied of, wherever they were: a run that was gone on with may have
    copied one that is dropped by now."""
    found = (_IN_TABLESPACE.fullmatch(folder) for folder in folders)
    return {each[1]: "" for each in found if each}


def told_by(parts: Sequence[Part]) -> Told:
    """The one tar of pg_basebackup has its label inside, and no tablespaces.

    Raises `VerifyFailed` for what nobody has written.
    """
    label = next((part for part in parts if part.details.get("path") == LABEL_FILE), None)
    if label is None:
        return Told()
    spaces = _read(label, TABLESPACES, "{}")
    vanished = _read(label, VANISHED, "[]")
    links = _read(label, LINKS, "{}")
    mode = label.details.get(MODE, "0")
    if (
        not isinstance(spaces, dict)
        or not isinstance(vanished, list)
        or not isinstance(links, dict)
        or not _MODE.fullmatch(mode)
    ):
        raise _damaged(label)
    return Told(
        tablespaces={require_oid(oid): str(place) for oid, place in spaces.items()},
        vanished=frozenset(str(path) for path in vanished),
        links={str(path): str(to) for path, to in links.items()},
        mode=int(mode, 8),
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
