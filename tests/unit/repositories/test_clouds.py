"""Logins that cannot be read are the operator's mistake, told without the secret."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.errors import ConfigInvalid
from holdfast.repositories.clouds import azure_repository, gcs_repository


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (
            lambda: gcs_repository(bucket="b", prefix="", service_account_key="SECRET"),
            "Google's console",
        ),
        (
            lambda: gcs_repository(
                bucket="b",
                prefix="",
                service_account_key='{"private_key": "SECRET", "private_key_id": "1",'
                ' "client_email": "a@b"}',
            ),
            "Google's console",
        ),
        (
            lambda: azure_repository(
                account="a", container="c", prefix="", account_key="SECRET !", sas_token=""
            ),
            "Base64",
        ),
        (
            lambda: azure_repository(
                account="a", container="c", prefix="", account_key="", sas_token="SECRET"
            ),
            "sas_token",
        ),
    ],
    ids=["no JSON", "no PEM", "no Base64", "no token"],
)
def test_a_login_that_cannot_be_read_is_told_and_not_shown(
    make: Callable[[], object], hint: str
) -> None:
    with pytest.raises(ConfigInvalid, match="cannot log in to '") as raised:
        make()
    assert hint in raised.value.hint
    assert "SECRET" not in str(raised.value)
    assert raised.value.__cause__ is None
