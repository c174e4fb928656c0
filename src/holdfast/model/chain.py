"""Incremental backups: which other backups each of them needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from holdfast.model.backup import Manifest
from holdfast.model.errors import VerifyFailed


def ancestors(manifest: Manifest, known: Mapping[str, Manifest]) -> list[Manifest]:
    """The backups that `manifest` is restored on top of, the full one first; none for a full one.

    Raises `VerifyFailed` if one of them is not `known` by its id.
    """
    found: list[Manifest] = []
    seen = {manifest.backup_id}
    parent = manifest.parent
    while parent:
        if parent not in known or parent in seen:
            raise VerifyFailed(
                f"cannot restore '{manifest.backup_id}': its parent '{parent}' is missing",
                hint="an incremental backup needs its whole chain: restore an older backup, or"
                " copy the parent back with holdfast copy",
            )
        seen.add(parent)
        found.append(known[parent])
        parent = known[parent].parent
    return found[::-1]


def is_whole(manifest: Manifest, known: Mapping[str, Manifest]) -> bool:
    """Whether every backup that `manifest` needs is `known`."""
    try:
        ancestors(manifest, known)
    except VerifyFailed:
        return False
    return True


def children_first(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Sort newest-first `manifests` oldest first, except that a parent follows its children."""
    children: dict[str, list[Manifest]] = {}
    for each in manifests:
        children.setdefault(each.parent, []).append(each)
    ordered: dict[str, Manifest] = {}
    for each in reversed(manifests):
        # The last one on the stack comes out first: the youngest of all descendants.
        waiting, below = [each], {each.backup_id: each}
        while waiting:
            found = children.get(waiting.pop().backup_id, [])
            # A forged pair of manifests may name each other as parent.
            new = [child for child in found if child.backup_id not in below]
            waiting += new
            below |= by_id(new)
        for manifest in reversed(below.values()):
            ordered.setdefault(manifest.backup_id, manifest)
    return list(ordered.values())


def by_id(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    return {each.backup_id: each for each in manifests}


def parents_first(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Keep the order, except that a parent precedes its children."""
    known = by_id(manifests)
    ordered: dict[str, Manifest] = {}
    for each in manifests:
        above = ancestors(each, known) if is_whole(each, known) else []
        for manifest in (*above, each):
            ordered.setdefault(manifest.backup_id, manifest)
    return list(ordered.values())
