"""Whether the parts that a manifest names are complete; nothing but the manifest is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from holdfast.model.backup import BadPart, Manifest, Part, PartPlan, Relation
from holdfast.model.errors import VerifyFailed
from holdfast.model.part_details import ClusterFile, ClusterLabel, PostgresTable
from holdfast.model.values import Span, gap_in

FILES = "files/"


def incomplete_files(parts: Sequence[Part]) -> Iterator[BadPart]:
    """Files whose pieces do not follow each other from the first byte to an open end.

    Also files whose size is not the stated one; each is reported by the part where it shows. Files
    that were dropped during the backup are skipped, since a restore does not bring them back.
    """
    pieces: defaultdict[str, list[Part]] = defaultdict(list)
    for part in parts:
        if path := path_of(part):
            pieces[path].append(part)
    vanished = label_of(parts).vanished
    for path, found in pieces.items():
        if path not in vanished:
            yield from _torn(path, found)


def path_of(part: Part | PartPlan) -> str:
    """The path of the file that a part holds, whole or in part; empty for other parts and packs."""
    details = part.details
    return details.path if isinstance(details, ClusterFile | ClusterLabel) else ""


def label_of(parts: Iterable[Part]) -> ClusterLabel:
    """The details of a cluster's label, or empty ones.

    The one tar of pg_basebackup has its label inside, and no tablespaces.
    """
    found = (part.details for part in parts if isinstance(part.details, ClusterLabel))
    return next(found, ClusterLabel())


def piece_of(part: Part) -> Span | None:
    """The bytes of its file that a part holds; None if it is the whole file."""
    return part.details.piece if isinstance(part.details, ClusterFile) else None


def _torn(path: str, parts: Sequence[Part]) -> Iterator[BadPart]:
    spans = [_span(part) for part in parts]
    tear = gap_in(spans)
    if tear is None:
        yield from _of_another_size(path, parts, spans)
        yield from _of_another_place(path, parts, spans)
        return
    part = parts[-1] if tear.found is None else parts[spans.index(tear.found)]
    missing = f"the bytes after its first {tear.expected} are missing"
    problem = missing if tear.expected is not None else "it has parts beyond its end"
    yield BadPart(name=part.name, problem=f"cannot trust file '{path}': {problem}")


def _of_another_size(path: str, parts: Sequence[Part], spans: Sequence[Span]) -> Iterator[BadPart]:
    for part, span in zip(parts, spans, strict=True):
        if span.after is not None and part.plain_bytes != span.after - span.first:
            yield BadPart(
                name=part.name,
                problem=f"cannot trust file '{path}': part '{part.name}' has {part.plain_bytes}"
                f" bytes, but covers bytes {span}",
            )


def _of_another_place(path: str, parts: Sequence[Part], spans: Sequence[Span]) -> Iterator[BadPart]:
    """Report parts whose name does not match their bytes.

    Part names hold path and position, so that two parts of equal size cannot be swapped unnoticed.
    """
    for part, span in zip(parts, spans, strict=True):
        piece = f"/{span.first >> 20:06}" if piece_of(part) is not None else ""
        is_named = part.name.startswith(FILES)
        if is_named and part.name != f"{FILES}{path.lower()}{piece}":
            yield BadPart(
                name=part.name,
                problem=f"cannot trust part '{part.name}': it covers bytes {span} of '{path}', but"
                " its name says otherwise",
            )


def _span(part: Part) -> Span:
    """The piece of a part; a part without a piece is the whole file."""
    return piece_of(part) or Span(first=0)


def gaps(manifest: Manifest) -> list[BadPart]:
    """Ranges or pieces that do not follow each other, tables that overlap, and repeated parts."""
    ranges: defaultdict[Relation, list[Part]] = defaultdict(list)
    for part in manifest.parts:
        if part.relation is not None and pages_of(part) is not None:
            ranges[part.relation].append(part)
    found = [_broken_range(relation, parts) for relation, parts in ranges.items()]
    found += [_broken_members(part) for part in manifest.parts if part.members]
    found += _repeated(manifest.parts)
    found += incomplete_files(manifest.parts)
    return [each for each in found if each is not None]


def require_complete(manifest: Manifest) -> None:
    """Raise `VerifyFailed` naming the first of the `gaps`."""
    for bad in gaps(manifest):
        raise VerifyFailed(bad.problem, hint="this backup is damaged: restore from another one")


def _broken_range(relation: Relation, parts: list[Part]) -> BadPart | None:
    """Report ranges that do not follow each other from the first page to an open end."""
    spans = {pages_of(part): part for part in parts}
    tear = gap_in([pages for pages in map(pages_of, parts) if pages is not None])
    if tear is None:
        return None
    part = parts[-1] if tear.found is None else spans[tear.found]
    found = "the end" if tear.found is None else f"page {tear.found.first}"
    before = "the end" if tear.expected is None else f"page {tear.expected}"
    return BadPart(
        name=part.name,
        problem=f"cannot trust table '{relation}': its ranges have {found} where {before} is"
        " expected",
    )


def pages_of(part: Part) -> Span | None:
    """The pages of its table that a part holds; None if it holds them all."""
    return part.details.pages if isinstance(part.details, PostgresTable) else None


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
            problem=f"cannot trust part '{part.name}': its tables do not match its size or its"
            " number of rows",
        )
    return None


def _repeated(parts: Sequence[Part]) -> Iterable[BadPart]:
    seen: set[str] = set()
    for part in parts:
        if part.key in seen:
            yield BadPart(
                name=part.name,
                problem=f"cannot trust part '{part.name}': the manifest lists it twice",
            )
        seen.add(part.key)
