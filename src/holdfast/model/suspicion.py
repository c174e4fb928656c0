"""Whether a backup is much smaller or larger than those before it: pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.model.backup import Manifest, Summary
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.units import counted, size

# A median of fewer backups says nothing.
FEWEST = 3
Sized = Manifest | Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """A backup is suspicious if its rows or bytes differ by more than `share` from the median.

    The median is that of the last `of_last` backups of the same database. Backups of fewer than
    `smallest_bytes` are never suspicious, nor is one with fewer than three before it.
    """

    share: float = 0.5
    smallest_bytes: int = 16 << 20
    of_last: int = 7

    def of(self, backup: Sized, earlier: Iterable[Sized]) -> str:
        """Why `backup` is suspicious beside the `earlier` ones, newest first; empty if not."""
        alike = [each for each in earlier if _is_alike(each, backup)][: self.of_last]
        if len(alike) < FEWEST:
            return ""
        usual = median(each.plain_bytes for each in alike)
        if max(usual, backup.plain_bytes) < self.smallest_bytes:
            return ""
        before = counted(len(alike), "backup")
        rows = median(each.rows for each in alike)
        if self._differs(backup.rows, rows):
            return (
                f"it has {counted(backup.rows, 'row')}, and the median of the {before} before it is"
                f" {round(rows)}"
            )
        if self._differs(backup.plain_bytes, usual):
            return (
                f"it has {size(backup.plain_bytes)}, and the median of the {before} before it is"
                f" {size(round(usual))}"
            )
        return ""

    def newest_of_each(self, newest_first: Sequence[Sized]) -> dict[str, str]:
        """The suspicious ones among the newest backups of each database, by id, each with why."""
        newest: dict[str, int] = {}
        for at, each in enumerate(newest_first):
            newest.setdefault(each.server.database, at)
        told = {
            newest_first[at].backup_id: self.of(newest_first[at], newest_first[at + 1 :])
            for at in newest.values()
        }
        return {backup_id: why for backup_id, why in told.items() if why}

    def all_of(self, newest_first: Sequence[Sized]) -> dict[str, str]:
        """Every suspicious backup of one job, by its id, each with why."""
        earlier: dict[tuple[str, bool], list[Sized]] = {}
        found: dict[str, str] = {}
        for each in reversed(newest_first):
            alike = earlier.setdefault((each.server.database, bool(each.parent)), [])
            why = self.of(each, alike[::-1])
            if why:
                found[each.backup_id] = why
            alike.append(each)
            del alike[: -self.of_last]
        return found

    def _differs(self, found: int, usual: float) -> bool:
        return abs(found - usual) > self.share * usual > 0


def _is_alike(one: Sized, other: Sized) -> bool:
    """Whether two backups are of the same database, and both full or both incremental."""
    return (one.server.database, bool(one.parent)) == (other.server.database, bool(other.parent))


def median(values: Iterable[float]) -> float:
    """The middle one, or the mean of both in the middle; `statistics` takes 5 ms to load."""
    found = sorted(values)
    middle = len(found) // 2
    return found[middle] if len(found) % 2 else (found[middle - 1] + found[middle]) / 2
