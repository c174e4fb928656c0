"""A listed name is accepted only if it is a possible key."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, cycle, repeat

import pytest

from holdfast.model.errors import ObjectMissing, RepositoryUnreachable
from holdfast.repositories import object_keys
from holdfast.repositories.object_keys import MOST_BYTES, believed, require_plain
from tests.support.events import capture_logs

UNPLAIN = [
    "",
    "/job/a",
    "job//a",
    "job/../a",
    "../job/a",
    "job/.",
    "job/.a",
    "job/",
    "job/\0",
    "job/\x1b[2J",
    "job/\ud800",
    f"job/{'a' * MOST_BYTES}",
    "job" + "/a" * MOST_BYTES,
]


def listed(found: Iterator[tuple[str, int]], prefix: str = "") -> list[str]:
    told = ((key, size_bytes, "") for key, size_bytes in found)
    return [each.key for each in believed(told, prefix, store="s3://b")]


@pytest.mark.parametrize("key", UNPLAIN, ids=lambda key: ascii(key[:20]))
def test_a_name_that_is_no_key_is_passed_over_and_told(key: str) -> None:
    with capture_logs() as logs:
        assert listed(iter([("job/1", 1), (key, 1), (key, 1), ("job/2", 1)])) == ["job/1", "job/2"]
    assert [each["event"] for each in logs] == ["foreign_object_skipped"]
    assert str(logs[0]["key"]).isprintable()


@pytest.mark.parametrize("key", UNPLAIN, ids=lambda key: ascii(key[:20]))
def test_what_is_listed_is_what_may_be_put(key: str) -> None:
    with pytest.raises(ObjectMissing) as raised:
        require_plain(key)
    assert raised.value.message.isprintable()


def test_what_is_not_below_the_prefix_is_passed_over() -> None:
    found = [("job/1", 1), ("job", 1), ("job-two/1", 1), ("other/job/1", 1)]
    assert listed(iter(found), "job") == ["job/1"]


@pytest.mark.parametrize("size_bytes", [-1, 1 << 63, 1 << 200])
def test_a_size_that_no_object_has_is_not_believed(size_bytes: int) -> None:
    assert listed(iter([("job/1", size_bytes), ("job/2", 2)])) == ["job/2"]


@pytest.mark.parametrize("names", [1, 7, 1000, 1500])
def test_a_page_that_comes_again_and_again_is_an_error(names: int) -> None:
    first = [(f"job/a{number}", 1) for number in range(1300)]
    page = [(f"job/b{number}", 1) for number in range(names)]
    with pytest.raises(RepositoryUnreachable, match="does not end"):
        listed(chain(first, cycle(page)))


def test_a_list_of_ever_new_names_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_keys, "MOST_OBJECTS", 5000)
    with pytest.raises(RepositoryUnreachable, match="does not end"):
        listed((f"job/{number}", 1) for number, _ in enumerate(repeat(None)))
