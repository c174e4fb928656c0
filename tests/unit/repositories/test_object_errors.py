"""What stores say, in our words: never with a signature in it."""

from __future__ import annotations

import pytest
from obstore.exceptions import AlreadyExistsError, GenericError, PermissionDeniedError

from holdfast.errors import (
    AlreadyStored,
    HoldfastError,
    ObjectMissing,
    RepositoryFull,
    RepositoryRefused,
    RepositoryUnreachable,
)
from holdfast.repositories.object_errors import errors_of, translated

SIGNED = (
    "Generic MicrosoftAzure error: Error performing GET https://a.blob.example/c/k?sig=SECRET in"
    " 1ms, after 3 retries - HTTP error: error sending request (https://a.blob.example/c?sig=SECRET)"
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (GenericError("status code: 507 Insufficient Storage: "), RepositoryFull),
        (GenericError("x <Code>SlowDown</Code>"), RepositoryUnreachable),
        (GenericError("status code: 403 Forbidden: "), RepositoryRefused),
        (PermissionDeniedError("x <Code>AccessDenied</Code>"), RepositoryRefused),
        (FileNotFoundError("x <Code>NoSuchBucket</Code>"), RepositoryRefused),
        (FileNotFoundError("x <Code>NoSuchKey</Code>"), ObjectMissing),
        (AlreadyExistsError("x"), AlreadyStored),
        (GenericError("x <Code>RequestTimeTooSkewed</Code>"), RepositoryRefused),
    ],
)
def test_each_refusal_is_what_the_operator_can_do_about_it(
    error: Exception, kind: type[HoldfastError]
) -> None:
    found = translated(error, "cannot store 'k' in 's3://b'")
    assert type(found) is kind
    assert found.message.startswith("cannot store 'k' in 's3://b': ")
    assert found.hint


def test_a_signed_address_is_never_shown_nor_kept_as_a_cause() -> None:
    with pytest.raises(RepositoryUnreachable) as raised, errors_of("read", "k", "azure://a/c"):
        raise GenericError(SIGNED)
    assert "SECRET" not in str(raised.value)
    assert "error sending request" in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
