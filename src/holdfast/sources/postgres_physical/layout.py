"""Files into parts: big ones alone or in pieces, small ones in packs, so that workers share
evenly."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from holdfast.model import Codec, Part, PartKind, PartPlan
from holdfast.sources.postgres_physical.file_ranges import RANGE_BYTES, FileRange, cut
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

    def add_pack(self, name: str, entries: list[Entry], *, compress: bool = True) -> None:
        self.contents[name] = entries
        self.parts.append(
            PartPlan(
                name=name,
                kind=PartKind.FILE_PACK,
                estimated_bytes=sum(entry.size_bytes for entry in entries),
                compress=compress,
            )
        )

    def add_file(self, entry: Entry, piece: FileRange | None = None, *, compress: bool) -> None:
        """All of it as one part, or a piece."""
        name, details = _name(entry.path), {"path": entry.path}
        size_bytes = entry.size_bytes
        if piece is not None:
            name, details = f"{name}/{piece.name}", details | piece.details
            size_bytes = (piece.after or max(size_bytes, piece.first)) - piece.first
        self.contents[name] = [entry]
        self.parts.append(
            PartPlan(
                name=name,
                kind=PartKind.FILE,
                estimated_bytes=size_bytes,
                details=details,
                compress=compress,
            )
        )


def around(
    layout: Layout, stored: Iterable[Part], *, with_rest: bool, range_bytes: int = RANGE_BYTES
) -> Layout:
    """The same files, but those in `stored` in the parts that they are in already.

    Without the rest, nothing else is to be copied.
    """
    rest, made = layout.entries, Layout()
    pieces: defaultdict[str, list[Part]] = defaultdict(list)
    for part in {each.name: each for each in stored}.values():
        if part.kind is PartKind.FILE:
            pieces[part.details["path"]].append(part)
        elif part.kind is PartKind.FILE_PACK:
            found = Findings.decode(part.memo)
            entries = [Entry(path=path, is_folder=True) for path in found.folders]
            entries += [rest.get(path, Entry(path=path)) for path in found.paths]
            made.add_pack(part.name, entries, compress=part.codec is not Codec.NONE)
            for entry in entries:
                rest.pop(entry.path, None)
    for path, parts in pieces.items():
        entry = rest.pop(path, Entry(path=path))
        compress = parts[0].codec is not Codec.NONE
        held = [FileRange.of(part.details) for part in parts]
        known = [piece for piece in held if piece is not None]
        if known and with_rest:
            held = [*cut(entry.size_bytes, known, range_bytes=range_bytes)]
        for piece in held:
            made.add_file(entry, piece, compress=compress)
    return lay_out(rest.values() if with_rest else (), into=made, range_bytes=range_bytes)


def lay_out(
    entries: Iterable[Entry],
    *,
    into: Layout | None = None,
    is_worth_compressing: Callable[[Entry], bool] = lambda _: True,
    small_bytes: int = SMALL_FILE_BYTES,
    pack_bytes: int = PACK_BYTES,
    pack_files: int = PACK_FILES,
    range_bytes: int = RANGE_BYTES,
) -> Layout:
    """The parts, biggest first, beside those that `into` has already.

    A file whose name no store would take goes into a pack.
    """
    layout, shared = into or Layout(), list[Entry]()
    taken = {_name(part.details["path"]) for part in layout.parts if part.kind is PartKind.FILE}
    for entry in entries:
        name = _name(entry.path)
        if entry.size_bytes < small_bytes or name in taken or not _SAFE_NAME.fullmatch(name):
            shared.append(entry)
            continue
        taken.add(name)
        compress = is_worth_compressing(entry)
        pieces = cut(entry.size_bytes, range_bytes=range_bytes)
        for piece in pieces if len(pieces) > 1 else [None]:
            layout.add_file(entry, piece, compress=compress)
    names = (f"packs/{number:05}.tar" for number in itertools.count())
    free = (name for name in names if name not in layout.contents)
    for pack in _packs(shared, pack_bytes, pack_files):
        layout.add_pack(next(free), pack)
    layout.parts.sort(key=lambda part: (-part.estimated_bytes, part.name))
    return layout


def _packs(entries: Iterable[Entry], most_bytes: int, most_files: int) -> Iterator[list[Entry]]:
    pack, packed = list[Entry](), 0
    for entry in entries:
        if pack and (packed + entry.size_bytes > most_bytes or len(pack) >= most_files):
            yield pack
            pack, packed = [], 0
        pack.append(entry)
        packed += entry.size_bytes
    if pack:
        yield pack


def _name(path: str) -> str:
    """What the part of a file is called; stores need not tell big letters from small ones."""
    return f"files/{path.lower()}"
