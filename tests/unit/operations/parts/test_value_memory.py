"""Values are held in blocks that serve again, and only whole."""

from __future__ import annotations

import mmap
import os

import pytest

from holdfast.operations.parts.value_memory import BLOCK_BYTES, HeldValue, ValueMemory


def held(memory: ValueMemory, value: bytes, *, cut: int = 300_001) -> HeldValue:
    found = HeldValue(memory)
    for start in range(0, len(value), cut):
        found.add(value[start : start + cut])
    return found


@pytest.mark.parametrize("size_bytes", [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])
def test_a_value_comes_back_as_it_was(size_bytes: int) -> None:
    value = os.urandom(size_bytes)
    found = held(ValueMemory(3 * BLOCK_BYTES), value)
    assert found.is_whole
    assert b"".join(bytes(chunk) for chunk in found.chunks()) == value


def test_a_value_without_room_gives_all_of_its_blocks_back() -> None:
    memory = ValueMemory(2 * BLOCK_BYTES)
    assert not held(memory, bytes(2 * BLOCK_BYTES + 1)).is_whole
    assert held(memory, bytes(2 * BLOCK_BYTES)).is_whole


def test_blocks_that_were_given_back_serve_again_before_new_ones() -> None:
    memory = ValueMemory(8 * BLOCK_BYTES)
    first = held(memory, b"a" * BLOCK_BYTES)
    (block,) = first.chunks()
    first.drop()
    second = held(memory, b"b")
    assert bytes(block[:1]) == b"b"
    assert bytes(next(iter(second.chunks()))) == b"b"


def test_values_of_two_workers_never_share_a_block() -> None:
    memory = ValueMemory(4 * BLOCK_BYTES)
    one, two = HeldValue(memory), HeldValue(memory)
    for _ in range(4):
        one.add(b"1" * (BLOCK_BYTES // 2))
        two.add(b"2" * (BLOCK_BYTES // 2))
    assert b"".join(bytes(each) for each in one.chunks()) == b"1" * 2 * BLOCK_BYTES
    assert b"".join(bytes(each) for each in two.chunks()) == b"2" * 2 * BLOCK_BYTES


def test_less_than_a_block_is_no_room() -> None:
    assert not held(ValueMemory(BLOCK_BYTES - 1), b"a").is_whole
    assert held(ValueMemory(0), b"").is_whole


def test_memory_that_the_host_refuses_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert not held(ValueMemory(4 * BLOCK_BYTES), b"a").is_whole
