"""Chains: what an incremental backup needs, and the order of copying and dropping."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.model.backup import Manifest
from holdfast.model.chain import ancestors, by_id, children_first, is_whole, parents_first
from holdfast.model.errors import VerifyFailed
from holdfast.model.proof import Proof
from tests.support.manifests import manifest


def backup(number: int, parent: int | None = None) -> Manifest:
    made = manifest(f"2026112{number}T020000Z-0a0b0c0d", age=timedelta(days=9 - number))
    above = f"shop/2026112{parent}T020000Z-0a0b0c0d" if parent is not None else ""
    return replace(made, proof=replace(made.proof, parent=above))


FULL, FIRST, SECOND, OTHER, BESIDE = (
    backup(0),
    backup(1, 0),
    backup(2, 1),
    backup(3),
    backup(4, 0),
)
NEWEST_FIRST = [BESIDE, OTHER, SECOND, FIRST, FULL]


def test_a_chain_goes_back_to_its_full_backup() -> None:
    known = by_id(NEWEST_FIRST)
    assert ancestors(SECOND, known) == [FULL, FIRST]
    assert ancestors(OTHER, known) == []
    assert (SECOND.parent, FULL.parent) == (FIRST.backup_id, "")


def test_a_parent_that_is_not_there_is_named() -> None:
    known = by_id([SECOND, FIRST])
    with pytest.raises(VerifyFailed, match=f"its parent '{FULL.backup_id}' is missing"):
        ancestors(SECOND, known)
    assert not is_whole(SECOND, known)


def test_a_chain_that_bites_its_tail_is_not_followed_for_ever() -> None:
    snake = replace(FULL, proof=Proof(parent=FIRST.backup_id))
    assert not is_whole(snake, by_id([snake, FIRST]))


def test_parents_are_copied_before_what_needs_them() -> None:
    assert parents_first(NEWEST_FIRST) == [FULL, BESIDE, OTHER, FIRST, SECOND]


def test_what_needs_a_backup_is_dropped_before_it() -> None:
    order = children_first(NEWEST_FIRST)
    assert set(map(order.index, NEWEST_FIRST)) == set(range(5))
    assert order.index(SECOND) < order.index(FIRST) < order.index(FULL)
    assert order.index(BESIDE) < order.index(FULL) < order.index(OTHER)
    alone = [backup(3), backup(2), backup(1)]
    assert children_first(alone) == alone[::-1]


def test_backups_that_need_each_other_in_a_loop_are_dropped_too() -> None:
    """The loop was once followed for ever."""
    itself = replace(FULL, proof=Proof(parent=FULL.backup_id))
    assert children_first([itself]) == [itself]
    snake = replace(FULL, proof=Proof(parent=FIRST.backup_id))
    assert len(children_first([FIRST, snake, OTHER])) == 3
