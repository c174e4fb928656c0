"""Clean-up that fails comes second, and nothing of it is lost."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from holdfast.model.errors import (
    BackupFailed,
    Interrupted,
    RepositoryReadOnly,
    RepositoryUnreachable,
)
from holdfast.runtime.cleanup import afterwards, noted_on, notes_of, on_failure

Way = Callable[..., AbstractContextManager[None]]


def fail(error: BaseException) -> None:
    raise error


@contextmanager
def in_a_handler(step: Callable[..., object], *arguments: object) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        with noted_on(error):
            step(*arguments)
        raise


WAYS = [afterwards, on_failure, in_a_handler]


@pytest.mark.parametrize("way", WAYS)
def test_the_cause_is_raised_and_tells_of_what_failed_after_it(way: Way) -> None:
    cause, fault = BackupFailed("cannot read"), OSError("no such descriptor")
    with pytest.raises(BackupFailed) as caught, way(fail, fault):
        raise cause
    assert caught.value is cause
    assert notes_of(cause) == ["cleaning up after it failed as well: no such descriptor"]


@pytest.mark.parametrize("way", WAYS)
def test_a_signal_that_comes_during_clean_up_is_obeyed(way: Way) -> None:
    with pytest.raises(Interrupted), way(fail, Interrupted("SIGTERM")):
        raise BackupFailed("cannot read")


@pytest.mark.parametrize("way", WAYS)
def test_a_consequence_of_the_cause_is_not_told_twice(way: Way) -> None:
    with (
        pytest.raises(RepositoryReadOnly) as caught,
        way(fail, RepositoryReadOnly("cannot delete")),
    ):
        raise RepositoryReadOnly("cannot store")
    assert caught.value.message == "cannot store"
    assert notes_of(caught.value) == []


def test_without_a_cause_the_clean_up_is_one_itself() -> None:
    with pytest.raises(RepositoryUnreachable), afterwards(fail, RepositoryUnreachable("gone")):
        pass


def test_nothing_is_cleaned_up_after_success_where_only_failure_is_asked_for() -> None:
    with on_failure(fail, AssertionError("called")):
        pass


def test_a_generator_that_is_left_early_does_not_swallow_what_goes_wrong() -> None:
    def numbers() -> Generator[int]:
        with afterwards(fail, RepositoryUnreachable("gone")):
            yield from range(9)

    generator = numbers()
    next(generator)
    with pytest.raises(RepositoryUnreachable):
        generator.close()


def test_every_step_is_taken_whatever_becomes_of_the_others() -> None:
    taken: list[str] = []
    with (
        pytest.raises(BackupFailed) as caught,
        afterwards(taken.append, "last"),
        afterwards(fail, OSError("second")),
        afterwards(fail, OSError("first")),
    ):
        raise BackupFailed("cause")
    assert taken == ["last"]
    assert [note.rpartition(" ")[2] for note in notes_of(caught.value)] == ["first", "second"]


def translated() -> None:
    try:
        with afterwards(fail, OSError("close failed")):
            raise ValueError("cause")
    except ValueError as error:
        raise BackupFailed("translated") from error


def test_notes_are_found_on_what_an_error_was_raised_from() -> None:
    with pytest.raises(BackupFailed) as caught:
        translated()
    assert notes_of(caught.value) == ["cleaning up after it failed as well: close failed"]
