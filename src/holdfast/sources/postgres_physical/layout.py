"""Files into parts: each big one alone, small ones in packs, so that workers share evenly."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from holdfast.model import Codec, Part, PartKind, PartPlan
from holdfast.sources.postgres_physical.findings import Findings
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

    @property
    def entries(self) -> dict[str, Entry]:
        """Every file and folder, by its path."""
        return {entry.path: entry for each in self.contents.values() for entry in each}

    def add(
        self,
        name: str,
        kind: PartKind,
        entries: list[Entry],
        details: dict[str, str],
        *,
        compress: bool = True,
    ) -> None:
        size_bytes = sum(entry.size_bytes for entry in entries)
        self.contents[name] = entries
        self.parts.append(
            PartPlan(
                name=name,
                kind=kind,
                estimated_bytes=size_bytes,
                details=details,
                compress=compress,
            )
        )


def around(layout: Layout, stored: Iterable[Part], *, with_rest: bool) -> Layout:
    """The same files, but those in `stored` in the parts that they are in already.

    Without `rest` nothing else is to be copied.
    """
    rest, made = layout.entries, Layout()
    for part in {each.name: each for each in stored}.values():
        if part.kind in (PartKind.FILE, PartKind.FILE_PACK):
            found = Findings.decode(part.memo)
            entries = [Entry(path=path, is_folder=True) for path in found.folders]
            entries += [rest.get(path, Entry(path=path)) for path in found.paths]
            compress = part.codec is not Codec.NONE
            made.add(part.name, part.kind, entries, part.details, compress=compress)
            for entry in entries:
                rest.pop(entry.path, None)
    return lay_out(rest.values() if with_rest else (), into=made)


def lay_out(
    entries: Iterable[Entry],
    *,
    into: Layout | None = None,
    is_worth_compressing: Callable[[Entry], bool] = lambda _: True,
    small_bytes: int = SMALL_FILE_BYTES,
    pack_bytes: int = PACK_BYTES,
    pack_files: int = PACK_FILES,
) -> Layout:
    """The parts, biggest first, beside those that `into` has already.

    A file whose name no store would take goes into a pack.
    """
    layout, pack, packed = into or Layout(), list[Entry](), 0
    numbers = itertools.count()

    def close_pack() -> None:
        nonlocal pack, packed
        names = (f"packs/{number:05}.tar" for number in numbers)
        free = next(name for name in names if name not in layout.contents)
        layout.add(free, PartKind.FILE_PACK, pack, {})
        pack, packed = [], 0

    for entry in entries:
        name = f"files/{entry.path.lower()}"
        is_free = _SAFE_NAME.fullmatch(name) and name not in layout.contents
        if entry.size_bytes >= small_bytes and is_free:
            compress = is_worth_compressing(entry)
            layout.add(name, PartKind.FILE, [entry], {"path": entry.path}, compress=compress)
            continue
        if pack and (packed + entry.size_bytes > pack_bytes or len(pack) >= pack_files):
            close_pack()
        pack.append(entry)
        packed += entry.size_bytes
    if pack:
        close_pack()
    layout.parts.sort(key=lambda part: (-part.estimated_bytes, part.name))
    return layout
