"""How a host was before its first change: kept there once, and never written over."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.systemd_units import Unit

FOLDER = Path("/var/lib/holdfast-tuning")
SCHEMA = "holdfast.snapshot/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """One thing as it was: a file, a kernel key, a queue setting, a mount, a unit's property."""

    kind: str
    name: str
    before: Mapping[str, Any]

    @property
    def identity(self) -> tuple[str, str]:
        return self.kind, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that one role found before it changed anything; `undone` once it was put back."""

    role: str
    taken: str
    originals: tuple[Original, ...] = ()
    undone: str = ""

    def missing(self, found: Iterable[Original]) -> list[Original]:
        """Those of `found` that the snapshot does not hold yet; after an undo, all of them."""
        held = set() if self.undone else {original.identity for original in self.originals}
        return [original for original in found if original.identity not in held]

    def document(self) -> dict[str, Any]:
        """What stands in the file."""
        return {"schema": SCHEMA, **asdict(self)}


def machine_id(path: Path = Path("/etc/machine-id")) -> str:
    """Which host this is, whatever an inventory calls it (machine-id(5)); empty for none."""
    try:
        return path.read_text().strip()[:12]
    except OSError:
        return ""


def path_for(role: str, *, folder: Path = FOLDER) -> Path:
    """Where a role's snapshot lies."""
    return folder / f"{role}.json"


def load(role: str, *, folder: Path = FOLDER) -> Snapshot:
    """The role's snapshot; an empty one where nothing was changed yet."""
    try:
        document = json.loads(path_for(role, folder=folder).read_text())
    except FileNotFoundError:
        return Snapshot(role=role, taken="")
    originals = tuple(Original(**entry) for entry in document["originals"])
    return Snapshot(
        role=role, taken=document["taken"], originals=originals, undone=document["undone"]
    )


def extended(snapshot: Snapshot, found: Iterable[Original], *, now: str) -> Snapshot:
    """The snapshot with what it lacks; what it holds stays, whatever `found` says of it."""
    missing = tuple(snapshot.missing(found))
    if snapshot.undone or not snapshot.taken:
        return Snapshot(role=snapshot.role, taken=now, originals=missing)
    return Snapshot(
        role=snapshot.role, taken=snapshot.taken, originals=snapshot.originals + missing
    )


def keep(snapshot: Snapshot, *, folder: Path = FOLDER) -> None:
    """Write the snapshot whole or not at all, for root only; one that was undone is set aside."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = path_for(snapshot.role, folder=folder)
    old = load(snapshot.role, folder=folder)
    if old.undone and not snapshot.undone:
        path.rename(path.with_suffix(f".{old.undone.replace(':', '')}.json"))
    # Python would open it for everybody first, and only then could its mode be changed.
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(snapshot.document(), out, indent=2, sort_keys=True)
        out.write("\n")
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(path)


def original_file(path: Path) -> list[Original]:
    """A file as it is, or that it is not there, and whether its folder is."""
    folder = Original(kind="folder", name=str(path.parent), before={"exists": path.parent.is_dir()})
    return [folder, Original(kind="file", name=str(path), before=file_state(path))]


def original_units(units: Iterable[Unit], name: str, *, dropin: str) -> list[Original]:
    """A property of each unit as systemd has it; a unit that our drop-in reaches is no original."""
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
    """Content and rights of a file; `content` is None where there is no file."""
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


def unrecorded(role: str, found: Iterable[Original]) -> list[dict[str, Any]]:
    """What the snapshot on this host does not hold yet, as Ansible can carry it."""
    return [asdict(original) for original in load(role).missing(found)]
