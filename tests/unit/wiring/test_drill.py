from __future__ import annotations

from holdfast.wiring.drill import SERVERS, USERS


def test_each_kind_of_server_that_is_drilled_has_a_user() -> None:
    assert USERS.keys() == SERVERS.keys()
