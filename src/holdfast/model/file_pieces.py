"""Files that are kept in several parts, and whether all of each is there: pure arithmetic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from holdfast.model.backup import BadPart, Part, PartKind
from holdfast.model.ranges import Span, gap_in
from holdfast.model.stored_json import MANIFEST, Unreadable, parsed

PATH, PIECE, VANISHED = "path", "bytes", "vanished"
FILES = "files/"
_OF_FILES = {PartKind.FILE, PartKind.WAL, PartKind.CLOSING}


def incomplete_files(parts: Sequence[Part]) -> Iterator[BadPart]:
    """Files whose pieces do not follow each other from the first byte to an open end, or do not
    have the size that they say, each by the part where that shows. One that was dropped during the
    backup does not come back."""
    pieces: defaultdict[str, list[Part]] = defaultdict(list)
    for part in parts:
        if part.kind in _OF_FILES and PATH in part.details:
            pieces[part.details[PATH]].append(part)
    vanished = _vanished(parts)
    for path, found in pieces.items():
        if path not in vanished:
            yield from _torn(path, found)


def _torn(path: str, parts: Sequence[Part]) -> Iterator[BadPart]:
    spans = [_span(part) for part in parts]
    tear = gap_in(spans)
    if tear is None:
        yield from _of_another_size(path, parts, spans)
        yield from _of_another_place(path, parts, spans)
        return
    part = parts[-1] if tear.found is None else parts[spans.index(tear.found)]
    missing = f"what comes after its first {tear.expected} bytes is not there"
    problem = missing if tear.expected is not None else "it goes on after its end"
    yield BadPart(name=part.name, problem=f"cannot trust file '{path}': {problem}")


def _of_another_size(path: str, parts: Sequence[Part], spans: Sequence[Span]) -> Iterator[BadPart]:
    for part, span in zip(parts, spans, strict=True):
        if span.after is not None and part.plain_bytes != span.after - span.first:
            yield BadPart(
                name=part.name,
                problem=f"cannot trust file '{path}': part '{part.name}' has {part.plain_bytes}"
                f" bytes, and stands for bytes {span}",
            )


def _of_another_place(path: str, parts: Sequence[Part], spans: Sequence[Span]) -> Iterator[BadPart]:
    """Parts are called by what is in them, so that two of one size cannot be taken for each
    other."""
    for part, span in zip(parts, spans, strict=True):
        piece = f"/{span.first >> 20:06}" if PIECE in part.details else ""
        is_named = part.name.startswith(FILES)
        if is_named and part.name != f"{FILES}{path.lower()}{piece}":
            yield BadPart(
                name=part.name,
                problem=f"cannot trust part '{part.name}': it stands for bytes {span} of '{path}'",
            )


def _span(part: Part) -> Span:
    """A part that names no piece is the whole file."""
    try:
        return Span.parse(part.details.get(PIECE, str(Span(first=0))))
    except ValueError:
        return Span(first=-1)


def _vanished(parts: Iterable[Part]) -> frozenset[str]:
    """Nothing where nobody can read it: then no file is excused."""
    for part in parts:
        if VANISHED in part.details:
            try:
                found = parsed(part.details[VANISHED], MANIFEST, of_files=True)
            except Unreadable:
                continue
            return frozenset(map(str, found)) if isinstance(found, list) else frozenset()
    return frozenset()
