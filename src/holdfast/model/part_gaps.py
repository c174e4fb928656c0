"""What a manifest alone tells about whether its parts are the whole: nothing else is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from holdfast.model.backup import BadPart, Manifest, Part, Relation
from holdfast.model.errors import VerifyFailed
from holdfast.model.file_pieces import incomplete_files
from holdfast.model.ranges import Span, gap_in

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
