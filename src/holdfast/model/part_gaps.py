"""Whether the parts that a manifest names are the whole: nothing else is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from holdfast.model.backup import BadPart, Manifest, Part, PartKind, Relation
from holdfast.model.errors import VerifyFailed
from holdfast.model.stored_json import MANIFEST, Unreadable, parsed
from holdfast.model.values import Span, gap_in

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


PAGES = "pages"


def gaps(manifest: Manifest) -> list[BadPart]:
    """Ranges of a table or pieces of a file that do not follow each other, and tables inside a part
    that overlap."""
    ranges: defaultdict[Relation, list[Part]] = defaultdict(list)
    for part in manifest.parts:
        if part.relation is not None and PAGES in part.details:
            ranges[part.relation].append(part)
    found = [_broken_range(relation, parts) for relation, parts in ranges.items()]
    found += [_broken_members(part) for part in manifest.parts if part.members]
    found += _repeated(manifest.parts)
    found += incomplete_files(manifest.parts)
    return [each for each in found if each is not None]


def require_complete(manifest: Manifest) -> None:
    """Raises `VerifyFailed` naming the first of the `gaps`."""
    for bad in gaps(manifest):
        raise VerifyFailed(bad.problem, hint="this backup is damaged: restore from another one")


def _broken_range(relation: Relation, parts: list[Part]) -> BadPart | None:
    """From the first page to the open end, each range beginning where the one before ended."""
    spans = {_pages(part): part for part in parts}
    tear = gap_in([_pages(part) for part in parts])
    if tear is None:
        return None
    part = parts[-1] if tear.found is None else spans[tear.found]
    found = "the end" if tear.found is None else f"page {tear.found.first}"
    before = "the end" if tear.expected is None else f"page {tear.expected}"
    return BadPart(
        name=part.name,
        problem=f"cannot trust table '{relation}': a range goes on at {found}, not at {before}",
    )


def _pages(part: Part) -> Span:
    try:
        return Span.parse(part.details[PAGES])
    except ValueError:
        return Span(first=-1)


def _broken_members(part: Part) -> BadPart | None:
    end = 0
    for member in part.members:
        if member.offset < end:
            return BadPart(
                name=part.name, problem=f"cannot trust part '{part.name}': its tables overlap"
            )
        end = member.offset + member.plain_bytes
    rows = sum(member.rows for member in part.members)
    if end > part.plain_bytes or (part.rows is not None and rows != part.rows):
        return BadPart(
            name=part.name,
            problem=f"cannot trust part '{part.name}': its tables are not what it is said to hold",
        )
    return None


def _repeated(parts: Sequence[Part]) -> Iterable[BadPart]:
    seen: set[str] = set()
    for part in parts:
        if part.key in seen:
            yield BadPart(
                name=part.name, problem=f"cannot trust part '{part.name}': it is named twice"
            )
        seen.add(part.key)
