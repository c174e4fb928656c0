"""A failed object ends a restore, unless it was told to keep going."""

from __future__ import annotations

import pytest

from holdfast.model.errors import RestoreFailed
from holdfast.model.restore import FailedObject
from holdfast.sources.failed_objects import FailedObjects

VIEW = FailedObject(kind="view", name="public.v", statement="CREATE VIEW v;", cause="no")


def test_the_first_failure_is_raised_and_names_the_way_to_keep_going() -> None:
    with pytest.raises(RestoreFailed, match="cannot restore view") as caught:
        FailedObjects(keep_going=False).met(VIEW, RestoreFailed("cannot restore view", hint="look"))
    assert caught.value.hint.startswith("look; --keep-going restores everything else")


def test_failures_are_noted_in_their_order_where_the_restore_keeps_going() -> None:
    failures = FailedObjects(keep_going=True)
    other = FailedObject(kind="index", name="i", statement="", cause="no")
    failures.met(VIEW, RestoreFailed("cannot restore view"))
    failures.met(other, RestoreFailed("cannot restore index"))
    assert failures.take() == (VIEW, other)
    assert failures.take() == ()
