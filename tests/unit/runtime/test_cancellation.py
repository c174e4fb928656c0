from __future__ import annotations

import pytest

from holdfast.model.errors import BackupFailed
from holdfast.runtime.cancellation import Cancellation


def test_everything_under_way_is_ended_even_if_one_refuses() -> None:
    endings, ended = Cancellation(), list[str]()

    def refuse() -> None:
        ended.append("refused")
        raise OSError("gone already")

    with endings.registered(refuse), endings.registered(lambda: ended.append("second")):
        endings.abort()
    assert ended == ["refused", "second"]


def test_what_is_done_is_not_ended_again() -> None:
    endings, ended = Cancellation(), list[str]()
    with endings.registered(lambda: ended.append("x")):
        pass
    endings.abort()
    assert ended == []


def test_nothing_begins_after_the_end() -> None:
    endings = Cancellation()
    endings.abort()
    with pytest.raises(BackupFailed, match="the run was ended"), endings.registered(endings.abort):
        pass
