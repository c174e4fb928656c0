"""Parallel restore of a cluster's files: bounded, each once, ended by the first failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from holdfast.model.backup import Part
from holdfast.model.errors import RestoreFailed, TasksRefused
from holdfast.sources.postgres.files.file_restore import FileRestore
from tests.support.threads import refuse_threads, threads_named

WAIT_SECONDS = 60.0


class Bringing(FileRestore):
    """The test decides the result of each part."""

    def __init__(self, act: Callable[[FileRestore, Any], None]) -> None:
        super().__init__(cast(Any, None), cast(Any, None), cast(Any, None))
        self._act = act

    def bring(self, part: Part) -> None:
        self._act(self, part)


def parts(*names: str) -> list[Part]:
    return cast(list[Part], list(names))


def test_the_first_failure_ends_the_other_files_and_is_the_one_raised() -> None:
    both_in = threading.Barrier(2)

    def act(restore: FileRestore, name: str) -> None:
        both_in.wait(WAIT_SECONDS)
        if name == "cause":
            raise RestoreFailed("cannot write 'base/1/2': No space left on device")
        while True:
            list(restore._watched([b"x"], cast(Any, _Named(name))))

    with pytest.raises(RestoreFailed, match="No space left"):
        Bringing(act).bring_all(parts("consequence", "cause"), workers=2)
    assert threads_named("slot-") == []


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name


def test_files_come_back_with_the_threads_that_the_host_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_threads(monkeypatch, "slot-[2-9]")
    done = list[str]()
    Bringing(lambda _, name: done.append(name)).bring_all(parts(*"abcdef"), workers=4)
    assert done == list("abcdef")


def test_a_file_that_was_begun_when_a_task_was_refused_is_not_begun_again() -> None:
    begun = list[str]()

    def act(_: FileRestore, name: str) -> None:
        begun.append(name)
        raise TasksRefused("cannot decrypt: the kernel refused another process or thread")

    with pytest.raises(TasksRefused):
        Bringing(act).bring_all(parts("a", "b"), workers=1)
    assert begun == ["a"]
