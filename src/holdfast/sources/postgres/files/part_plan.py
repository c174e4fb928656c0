"""Plans files as parts: large files in ranges, small files in packs, for an even distribution."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import field, replace
from itertools import chain

from holdfast.model.backup import Codec, Part, PartKind, PartPlan
from holdfast.model.errors import VerifyFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import ClusterFile
from holdfast.model.values import Span
from holdfast.sources.postgres.files.checksum_results import ChecksumResults, paths_in
from holdfast.sources.postgres.files.entries import PATHS_IN_MEMORY, Entries, Entry, Paths, paths

# An eighth of a full segment: the overhead of a part is negligible, and workers share evenly.
RANGE_BYTES = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRange(Span):
    """A range of bytes of a file; the last range has no end of its own and ends with the file."""

    @property
    def name(self) -> str:
        """The number of its first MiB, padded so that names sort as the bytes do."""
        return f"{self.first >> 20:06}"


WHOLE = FileRange(first=0)


def file_of(part: Part | PartPlan) -> ClusterFile:
    """The file that a part holds, whole or in part; raises `VerifyFailed` if it names none."""
    if not isinstance(part.details, ClusterFile):
        raise VerifyFailed(f"cannot trust part '{part.name}': it does not name its file")
    return part.details


def of_files(parts: Iterable[Part]) -> Iterator[Part]:
    """Those of `parts` that hold files of the data directory, and no WAL or label."""
    return (part for part in parts if part.kind in {PartKind.FILE, PartKind.FILE_PACK})


def range_of(part: Part | PartPlan) -> FileRange | None:
    """The range that a part holds; None if it holds a whole file or a pack."""
    piece = part.details.piece if isinstance(part.details, ClusterFile) else None
    return FileRange(first=piece.first, after=piece.after) if piece else None


def cut(
    size_bytes: int, held: Sequence[FileRange] = (), *, range_bytes: int = RANGE_BYTES
) -> list[FileRange]:
    """Cut a file of `size_bytes` into ranges; those in `held` are kept and the gaps filled.

    The last range has an open end, as the file may grow. It may be empty if the file shrinks.
    """
    found: list[FileRange] = []
    at = 0
    for each in sorted(held, key=lambda each: each.first):
        found += _evenly(at, each.first, range_bytes)
        found.append(each)
        if each.after is None:
            return found
        at = each.after
    while size_bytes - at > range_bytes:
        found.append(FileRange(first=at, after=at + range_bytes))
        at += range_bytes
    return [*found, FileRange(first=at)]


def _evenly(at: int, end: int, range_bytes: int) -> Iterator[FileRange]:
    for first in range(at, end, range_bytes):
        yield FileRange(first=first, after=min(first + range_bytes, end))


SMALL_FILE_BYTES = 4 << 20
PACK_BYTES = 32 << 20
PACK_FILES = 2000
# Sizes double after this many parts: a manifest should name at most some 100,000 parts, because
# every run holds all of them in memory.
PARTS_OF_A_SIZE = 8000
# Packs stay at 1 GiB or less: a restore buffers a whole pack until its fingerprint is verified.
MOST_DOUBLED = 5
_SAFE_NAME = re.compile(r"[a-z0-9._/-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The size from which a file is a part of its own, and the sizes of ranges and packs."""

    small_bytes: int = SMALL_FILE_BYTES
    pack_bytes: int = PACK_BYTES
    pack_files: int = PACK_FILES
    range_bytes: int = RANGE_BYTES
    parts_of_a_size: int = PARTS_OF_A_SIZE

    def after(self, parts: int) -> Sizes:
        """The sizes for the next part after `parts`; they double so that the parts stay few."""
        twice = min(parts // self.parts_of_a_size, MOST_DOUBLED)
        if not twice:
            return self
        return Sizes(
            small_bytes=self.small_bytes << twice,
            pack_bytes=self.pack_bytes << twice,
            pack_files=self.pack_files,
            range_bytes=self.range_bytes << twice,
        )


@dataclass(kw_only=True)
class FileLayout:
    """All planned parts, and the files in each, by the part's name."""

    parts: list[PartPlan] = field(default_factory=list)
    contents: dict[str, Entries] = field(default_factory=dict)

    @property
    def entries(self) -> Iterator[Entry]:
        """Every file and folder; a file in several ranges appears once for each."""
        return (entry for each in self.contents.values() for entry in each)

    @property
    def packed_files(self) -> int:
        """How many files and folders are in packs."""
        packs = (part for part in self.parts if part.kind is PartKind.FILE_PACK)
        return sum(len(self.contents[part.name]) for part in packs)

    def add_pack(self, name: str, entries: Sequence[Entry], *, compress: bool = True) -> None:
        self.contents[name] = Entries(entries)
        self.parts.append(
            PartPlan(
                name=name,
                kind=PartKind.FILE_PACK,
                estimated_bytes=sum(entry.size_bytes for entry in entries),
                compress=compress,
            )
        )

    def add_file(
        self,
        entry: Entry,
        piece: FileRange | None = None,
        *,
        compress: bool,
        details: ClusterFile | None = None,
    ) -> None:
        """Add a whole file or one range of it; `details` are those that an earlier run stored."""
        name = _name(entry.path)
        span = piece.span if piece else None
        noted = replace(details or _noted(entry), path=entry.path, piece=span)
        size_bytes = entry.size_bytes
        if piece is not None:
            name = f"{name}/{piece.name}"
            size_bytes = (piece.after or max(size_bytes, piece.first)) - piece.first
        self.contents[name] = Entries([entry])
        self.parts.append(
            PartPlan(
                name=name,
                kind=PartKind.FILE,
                estimated_bytes=size_bytes,
                details=noted,
                compress=compress,
            )
        )


def _noted(entry: Entry) -> ClusterFile:
    """What a restore needs beside the content: path, mode and sparseness."""
    return ClusterFile(path=entry.path, mode=entry.mode, is_sparse=entry.is_sparse)


def around(
    layout: FileLayout,
    stored: Iterable[Part],
    *,
    with_rest: bool,
    sizes: Sizes | None = None,
    paths_in_memory: int = PATHS_IN_MEMORY,
) -> FileLayout:
    """A layout of the same files that keeps the `stored` parts as they are.

    Without `with_rest` it holds the stored parts only. Raises `VerifyFailed` for a stored part that
    does not name its files.
    """
    sizes, made = sizes or Sizes(), FileLayout()
    with paths(in_memory=paths_in_memory) as held:
        pieces = _keep_packs(stored, made, held)
        known = _found_of(pieces, layout)
        for path, parts in pieces.items():
            entry = known.get(path, Entry(path=path))
            _keep_pieces(entry, parts, made, sizes=sizes if with_rest else None)
        held.add(pieces)
        rest = (entry for entry in _once(layout) if entry.path not in held)
        return lay_out(rest if with_rest else (), into=made, sizes=sizes)


def _keep_packs(
    stored: Iterable[Part], made: FileLayout, held: Paths
) -> defaultdict[str, list[Part]]:
    """Add the stored packs to `made` and their paths to `held`; returns the other parts by path."""
    pieces: defaultdict[str, list[Part]] = defaultdict(list)
    for part in {each.name: each for each in stored}.values():
        if part.kind is PartKind.FILE:
            pieces[file_of(part).path].append(part)
        elif part.kind is PartKind.FILE_PACK:
            found = ChecksumResults.decode(part.memo, with_files=False)
            entries = [Entry(path, is_folder=True) for path in found.folders]
            entries += map(Entry, chain(paths_in(part), sorted(found.vanished)))
            made.add_pack(part.name, entries, compress=part.codec is not Codec.NONE)
            held.add(entry.path for entry in entries)
    return pieces


def _found_of(paths: Collection[str], layout: FileLayout) -> dict[str, Entry]:
    """The entries of `paths`; packs are searched last, as nearly all such files are too large."""
    is_pack = {part.name: part.kind is PartKind.FILE_PACK for part in layout.parts}
    found: dict[str, Entry] = {}
    for name in sorted(layout.contents, key=is_pack.__getitem__):
        if len(found) == len(paths):
            break
        found.update((each.path, each) for each in layout.contents[name] if each.path in paths)
    return found


def _keep_pieces(entry: Entry, parts: list[Part], made: FileLayout, *, sizes: Sizes | None) -> None:
    compress = parts[0].codec is not Codec.NONE
    held = [range_of(part) for part in parts]
    known = [piece for piece in held if piece is not None]
    if known and sizes is not None:
        held = [*cut(entry.size_bytes, known, range_bytes=sizes.range_bytes)]
    for piece in held:
        made.add_file(entry, piece, compress=compress, details=file_of(parts[0]))


def _once(layout: FileLayout) -> Iterator[Entry]:
    """Every entry once: the ranges of a file come in any order, and each names the file."""
    for part in layout.parts:
        piece = range_of(part)
        if piece is None or not piece.first:
            yield from layout.contents[part.name]


def lay_out(
    entries: Iterable[Entry],
    *,
    into: FileLayout | None = None,
    is_worth_compressing: Callable[[Entry], bool] = lambda _: True,
    sizes: Sizes | None = None,
) -> FileLayout:
    """Plan `entries` as parts, in addition to those of `into`; returns all, largest first.

    A file goes into a pack if it is small, if its name is unsafe as a key, or if that differs from
    another only in case.
    """
    layout, first = into or FileLayout(), sizes or Sizes()
    taken = {_name(file_of(part).path) for part in layout.parts if part.kind is PartKind.FILE}
    names = (f"packs/{number:05}.tar" for number in itertools.count())
    free = (name for name in names if name not in layout.contents)
    pack, now = _Pack(), first.after(len(layout.parts))
    for entry in entries:
        is_small = entry.size_bytes < now.small_bytes
        name = "" if is_small else _name(entry.path)
        if is_small or name in taken or not _SAFE_NAME.fullmatch(name):
            if pack.is_full(entry, now):
                layout.add_pack(next(free), pack.entries)
                pack, now = _Pack(), first.after(len(layout.parts))
            pack.add(entry)
            continue
        taken.add(name)
        compress = is_worth_compressing(entry)
        pieces = cut(entry.size_bytes, range_bytes=now.range_bytes)
        for piece in pieces if len(pieces) > 1 else [None]:
            layout.add_file(entry, piece, compress=compress)
        now = first.after(len(layout.parts))
    if pack.entries:
        layout.add_pack(next(free), pack.entries)
    layout.parts.sort(key=lambda part: (-part.estimated_bytes, part.name))
    return layout


@dataclass(kw_only=True)
class _Pack:
    """The small files that are collected for the next pack."""

    entries: list[Entry] = field(default_factory=list)
    size_bytes: int = 0

    def is_full(self, entry: Entry, sizes: Sizes) -> bool:
        count = len(self.entries)
        is_large = self.size_bytes + entry.size_bytes > sizes.pack_bytes
        return (is_large and count > 0) or count >= sizes.pack_files

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.size_bytes += entry.size_bytes


def is_safe_name(name: str) -> bool:
    """Whether `name` may be that of a part, and with it the end of a key."""
    return _SAFE_NAME.fullmatch(name) is not None and not {"", ".", ".."} & {*name.split("/")}


def _name(path: str) -> str:
    """The part name of a file, in lower case, as some stores ignore case."""
    return f"files/{path.lower()}"
