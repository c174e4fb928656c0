"""Files into parts: each big one alone, small ones in packs, so that workers share evenly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.model import PartKind, PartPlan
from holdfast.sources.postgres_physical.tree import Entry

SMALL_FILE_BYTES = 4 << 20
PACK_BYTES = 32 << 20
PACK_FILES = 2000
_SAFE_NAME = re.compile(r"[a-z0-9._/-]+")


@dataclass(kw_only=True)
class Layout:
    """Every part that files make, and which files are in it, by the part's name."""

    parts: list[PartPlan] = field(default_factory=list)
    contents: dict[str, list[Entry]] = field(default_factory=dict)

    def add(self, name: str, kind: PartKind, entries: list[Entry], details: dict[str, str]) -> None:
        size_bytes = sum(entry.size_bytes for entry in entries)
        self.contents[name] = entries
        self.parts.append(
            PartPlan(name=name, kind=kind, estimated_bytes=size_bytes, details=details)
        )


def lay_out(
    entries: Iterable[Entry],
    *,
    small_bytes: int = SMALL_FILE_BYTES,
    pack_bytes: int = PACK_BYTES,
    pack_files: int = PACK_FILES,
) -> Layout:
    """The parts, biggest first. A file whose name no store would take goes into a pack."""
    layout, pack, packed = Layout(), list[Entry](), 0
    names: set[str] = set()

    def close_pack() -> None:
        nonlocal pack, packed
        layout.add(f"packs/{len(layout.parts):05}.tar", PartKind.FILE_PACK, pack, {})
        pack, packed = [], 0

    for entry in entries:
        name = f"files/{entry.path.lower()}"
        if entry.size_bytes >= small_bytes and _SAFE_NAME.fullmatch(name) and name not in names:
            names.add(name)
            layout.add(name, PartKind.FILE, [entry], {"path": entry.path})
            continue
        if pack and (packed + entry.size_bytes > pack_bytes or len(pack) >= pack_files):
            close_pack()
        pack.append(entry)
        packed += entry.size_bytes
    if pack:
        close_pack()
    layout.parts.sort(key=lambda part: (-part.estimated_bytes, part.name))
    return layout
