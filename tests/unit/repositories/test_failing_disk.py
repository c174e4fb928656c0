"""A disk that fails during a write: the first failure is reported, whatever follows.

The kernel's calls are made to fail where a real disk or network file system makes them fail.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.model.errors import (
    HoldfastError,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryUnreachable,
    VerifyFailed,
)
from holdfast.repositories.local import LocalRepository

KINDS: dict[int, type[HoldfastError]] = {
    errno.ENOSPC: RepositoryFull,
    errno.EDQUOT: RepositoryFull,
    errno.EROFS: RepositoryReadOnly,
    errno.EIO: RepositoryUnreachable,
    errno.ESTALE: RepositoryUnreachable,
}
# Not unlink: a put is complete even where nothing may be removed.
CALLS = ("write", "fsync", "close", "link", "open", "mkdir")


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Have the kernel's call `name` fail, except for what our own tests need of it."""
    real: Callable[..., Any] = getattr(os, name)

    def refused(*arguments: Any, **words: Any) -> Any:
        if name == "open" and not arguments[1] & os.O_CREAT:
            return real(*arguments, **words)
        if name == "close":
            # The descriptor is closed nevertheless, as after a failed close(2).
            real(*arguments)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, refused)


@pytest.mark.parametrize("number", KINDS, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("name", CALLS)
def test_a_put_tells_what_the_disk_said_whichever_call_it_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    repository = LocalRepository(tmp_path)
    with monkeypatch.context() as failing:
        refuse(failing, name, number)
        with pytest.raises(KINDS[number]) as caught:
            repository.put("shop/1/parts/a", [b"content"])
    assert type(caught.value) is KINDS[number]
    assert os.strerror(number) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("number", KINDS, ids=errno.errorcode.__getitem__)
def test_a_disk_that_fails_under_the_clean_up_does_not_hide_why_the_put_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def chunks() -> Any:
        yield b"the first of two"
        with_faults.setattr(os, "unlink", refused)
        with_faults.setattr(os, "close", refused)
        raise VerifyFailed("cannot trust part 'a': its source is damaged")

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as with_faults, pytest.raises(VerifyFailed) as caught:
        LocalRepository(tmp_path).put("shop/1/parts/a", chunks())
    assert caught.value.message == "cannot trust part 'a': its source is damaged"
    assert any(os.strerror(number) in note for note in caught.value.__notes__)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE], ids=errno.errorcode.__getitem__)
def test_a_read_that_fails_says_that_the_disk_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    repository = LocalRepository(tmp_path)
    repository.put("shop/1/parts/a", [b"content"])

    def refused(*_: Any) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "read", refused)
    with (
        repository.open("shop/1/parts/a") as chunks,
        pytest.raises(RepositoryUnreachable) as caught,
    ):
        next(iter(chunks))
    assert caught.value.hint == "the disk or the network file system fails: see dmesg"
