"""The state of a host before its first change: saved on the host once, never overwritten."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .systemd_units import Unit

FOLDER = Path("/var/lib/holdfast-tuning")
SCHEMA = "holdfast.snapshot/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The original state of one file, kernel key, queue setting, mount or unit property."""

    kind: str
    name: str
    before: Mapping[str, Any]

    @property
    def identity(self) -> tuple[str, str]:
        return self.kind, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All originals that a role found before its first change; `undone` once they were restored."""

    role: str
    taken: str
    originals: tuple[Original, ...] = ()
    undone: str = ""

    def missing(self, found: Iterable[Original]) -> list[Original]:
        """Those of `found` that the snapshot does not hold yet; after an undo, all of them."""
        held = set() if self.undone else {original.identity for original in self.originals}
        return [original for original in found if original.identity not in held]

    def document(self) -> dict[str, Any]:
        """The content of the snapshot's file."""
        return {"schema": SCHEMA, **asdict(self)}


def machine_id(path: Path = Path("/etc/machine-id")) -> str:
    """The host's identity, whatever an inventory calls it (machine-id(5)); empty if it has none."""
    try:
        return path.read_text().strip()[:12]
    except OSError:
        return ""


def path_for(role: str, *, folder: Path = FOLDER) -> Path:
    """The file of a role's snapshot."""
    return folder / f"{role}.json"


def load(role: str, *, folder: Path = FOLDER) -> Snapshot:
    """The role's snapshot; an empty one if nothing was changed yet."""
    try:
        document = json.loads(path_for(role, folder=folder).read_text())
    except FileNotFoundError:
        return Snapshot(role=role, taken="")
    originals = tuple(Original(**entry) for entry in document["originals"])
    return Snapshot(
        role=role, taken=document["taken"], originals=originals, undone=document["undone"]
    )


def extended(snapshot: Snapshot, found: Iterable[Original], *, now: str) -> Snapshot:
    """The snapshot with missing originals added; existing ones are never replaced."""
    missing = tuple(snapshot.missing(found))
    if snapshot.undone or not snapshot.taken:
        return Snapshot(role=snapshot.role, taken=now, originals=missing)
    return Snapshot(
        role=snapshot.role, taken=snapshot.taken, originals=snapshot.originals + missing
    )


def keep(snapshot: Snapshot, *, folder: Path = FOLDER) -> None:
    """Write the snapshot atomically, for root only; an undone one is renamed first."""
    open_folder(folder)
    path = path_for(snapshot.role, folder=folder)
    old = load(snapshot.role, folder=folder)
    if old.undone and not snapshot.undone:
        path.rename(path.with_suffix(f".{old.undone.replace(':', '')}.json"))
    # Python would create it readable for everybody before its mode could be changed.
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(snapshot.document(), out, indent=2, sort_keys=True)
        out.write("\n")
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(path)


def open_folder(folder: Path = FOLDER) -> None:
    """Make the folder: everybody may reach the verdict in it, and nobody else may list it."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    folder.chmod(0o711)


def original_file(path: Path) -> list[Original]:
    """The state of a file, or its absence, and whether its folder exists."""
    folder = Original(kind="folder", name=str(path.parent), before={"exists": path.parent.is_dir()})
    return [folder, Original(kind="file", name=str(path), before=file_state(path))]


def original_units(units: Iterable[Unit], name: str, *, dropin: str) -> list[Original]:
    """A property of each unit; units that already have our drop-in are skipped."""
    return [
        Original(
            kind="unit",
            name=f"{unit.name} {name}",
            before={"unit": unit.name, "property": name, "value": unit.properties[name]},
        )
        for unit in units
        if not any(Path(path).name == dropin for path in unit.properties["DropInPaths"].split())
    ]


def file_state(path: Path) -> dict[str, Any]:
    """Content and permissions of a file; `content` is None if it does not exist."""
    try:
        content, status = path.read_bytes(), path.stat()
    except FileNotFoundError:
        return {"content": None}
    return {
        "content": base64.b64encode(content).decode(),
        "mode": f"{status.st_mode & 0o7777:04o}",
        "owner": status.st_uid,
        "group": status.st_gid,
    }
