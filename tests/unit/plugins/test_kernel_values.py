"""A kernel key's value as an operator writes it, and as the kernel shows it."""

import pytest

from plugins.module_utils.kernel_values import number, same_value


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ("8001,8002,8003", "8001-8003"),
        ("8003,8001-8002,8001", "8001-8003"),
        ("0x1000 8192 00020000", "4096\t8192\t8192"),
        ("010", "8"),
        ("0xff", "255"),
        ("-1", "-1"),
        ("ff", "00000000,000000ff"),
        ("fq_codel", "fq_codel"),
    ],
)
def test_what_the_kernel_only_writes_otherwise_is_the_same_value(wanted: str, shown: str) -> None:
    assert same_value(wanted, shown)


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ("8001,8002,8003", "8001-8002"),
        ("8001-8003", "8001-8004"),
        ("010", "10"),
        ("1", "11"),
        ("250", "250 32000 32 128"),
        ("1 2", "2 1"),
        ("ff", "00000001,000000ff"),
        ("fq_codel", "fq"),
        ("99999999999", "2147483647"),
        ("core.%p.of.a.long.name", "core.%p.of.a.long"),
    ],
)
def test_what_the_kernel_cut_off_or_changed_is_another_value(wanted: str, shown: str) -> None:
    assert not same_value(wanted, shown)


@pytest.mark.parametrize(
    ("word", "read"), [("0", 0), ("00", 0), ("0x1F", 31), ("-7", -7), ("09", None), ("1k", None)]
)
def test_numbers_are_read_as_the_kernel_reads_them(word: str, read: int | None) -> None:
    assert number(word) == read
