"""What a run has found out before its first byte, kept as text for a run that resumes it.

Both copy files of one base backup, so a list that was made after its begin serves both: what is
created or changed later comes from the WAL.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from crc32c import crc32c

from holdfast.model.backup import PartKind, PartPlan
from holdfast.model.facts import by_name
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import ClusterFile, details_in, stored_details
from holdfast.model.stored_json import MANIFEST, Unreadable, parsed, plain, typed
from holdfast.model.values import Count, Line, Text
from holdfast.runtime import events
from holdfast.sources.postgres.files.entries import Entries, PackedEntries
from holdfast.sources.postgres.files.part_plan import FileLayout, is_safe_name
from holdfast.sources.postgres.files.tree import Seen

# The journal's line of at most 64 MiB holds it, where some characters take two bytes. A run that
# resumes a larger one lists its files again.
MOST_CHARACTERS = 24 << 20
_SUM_CHARACTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptPart:
    """A part, and its files; `details` only of one that is a single file, or a range of it."""

    name: Line
    estimated_bytes: Count
    compress: bool
    details: dict[str, str]
    files: Count
    paths: str
    numbers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """Texts by path are JSON in a text, as a path need not be valid text."""

    parts: tuple[_KeptPart, ...]
    skipped: str
    links: str
    tablespaces: str
    unproven: tuple[Text, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPlan:
    """The parts of a base backup, what the walk found beside them, and the notes on databases whose
    files could not be compared with the catalogs."""

    layout: FileLayout
    seen: Seen
    unproven: Sequence[str] = ()

    def encode(self) -> str:
        """As text of ASCII; empty if it would be too long."""
        kept = _Kept(
            parts=tuple(
                _kept(part, self.layout.contents[part.name].packed) for part in self.layout.parts
            ),
            skipped=json.dumps(self.seen.skipped),
            links=json.dumps(self.seen.links),
            tablespaces=json.dumps(self.seen.tablespaces),
            unproven=tuple(self.unproven),
        )
        text = json.dumps(plain(kept), separators=(",", ":"))
        return _sum(text) + text if len(text) <= MOST_CHARACTERS else ""

    @staticmethod
    def decode(memo: str) -> KeptPlan | None:
        """The plan in `memo`; None for one that is empty or damaged: files can be listed again."""
        if not memo:
            return None
        try:
            return _plan(memo)
        except ValueError as error:
            events.warning("kept_plan_damaged", problem=str(error))
            return None


def _kept(part: PartPlan, files: PackedEntries) -> _KeptPart:
    return _KeptPart(
        name=part.name,
        estimated_bytes=part.estimated_bytes,
        compress=part.compress,
        details=stored_details(part.details),
        files=files.number,
        paths=base64.b64encode(files.paths).decode(),
        numbers=base64.b64encode(files.numbers).decode(),
    )


def _sum(text: str) -> str:
    return f"{crc32c(text.encode()):0{_SUM_CHARACTERS}x}"


def _plan(memo: str) -> KeptPlan:
    """Raises `ValueError` if it is malformed."""
    told, text = memo[:_SUM_CHARACTERS], memo[_SUM_CHARACTERS:]
    if told != _sum(text):
        raise Unreadable("its checksum is wrong")
    kept, layout = typed(_Kept, parsed(text, MANIFEST)), FileLayout()
    for part in kept.parts:
        plan, files = _part(part)
        layout.parts.append(plan)
        layout.contents[plan.name] = files
    if len(layout.contents) != len(layout.parts):
        raise Unreadable("it names a part twice")
    skipped, links, tablespaces = (
        dict(by_name(each, of_files=True)) for each in (kept.skipped, kept.links, kept.tablespaces)
    )
    seen = Seen(skipped=skipped, links=links, tablespaces=tablespaces)
    return KeptPlan(layout=layout, seen=seen, unproven=kept.unproven)


def _part(kept: _KeptPart) -> tuple[PartPlan, Entries]:
    details = details_in(kept.details)
    files = Entries.unpacked(
        PackedEntries(
            kept.files,
            base64.b64decode(kept.paths, validate=True),
            base64.b64decode(kept.numbers, validate=True),
        )
    )
    if not is_safe_name(kept.name):
        raise Unreadable("the name of a part is not safe as a key")
    if kept.details:
        named = [details.path] if isinstance(details, ClusterFile) else []
        if named != [each.path for each in files]:
            raise Unreadable(f"part '{kept.name}' is not the one file that it names")
    plan = PartPlan(
        name=kept.name,
        kind=PartKind.FILE if kept.details else PartKind.FILE_PACK,
        estimated_bytes=kept.estimated_bytes,
        details=details,
        compress=kept.compress,
    )
    return plan, files
