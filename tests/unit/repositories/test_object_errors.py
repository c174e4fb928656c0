"""Errors of stores in our words, never with a signature in them."""

from __future__ import annotations

import pytest
from obstore.exceptions import AlreadyExistsError, GenericError, PermissionDeniedError

from holdfast.model.errors import (
    AlreadyStored,
    HoldfastError,
    ObjectMissing,
    RepositoryFull,
    RepositoryReadOnly,
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
        (AlreadyExistsError("x <Code>ConditionalRequestConflict</Code>"), RepositoryUnreachable),
        (AlreadyExistsError("x <Code>ContainerBeingDeleted</Code>"), RepositoryUnreachable),
        (GenericError('Encountered object with invalid path: Path "a//b"'), RepositoryRefused),
    ],
)
def test_each_refusal_is_what_the_operator_can_do_about_it(
    error: Exception, kind: type[HoldfastError]
) -> None:
    found = translated(error, "cannot store 'k' in 's3://b'")
    assert type(found) is kind
    assert found.message.startswith("cannot store 'k' in 's3://b': ")
    assert found.hint


@pytest.mark.parametrize(
    "error",
    [
        PermissionDeniedError("x <Code>AccessDenied</Code>"),
        GenericError("status code: 403 Forbidden: "),
        GenericError("Bulk delete request failed for key k: not authorized. (code: 403)"),
        GenericError("Bulk delete request failed for key k: immutable. (code: 409)"),
        GenericError("status code: 405 Method Not Allowed: "),
        AlreadyExistsError("status code: 409 <Code>BlobImmutableDueToPolicy</Code>"),
    ],
    ids=str,
)
def test_what_a_store_keeps_is_told_as_kept_when_it_was_to_be_deleted(error: Exception) -> None:
    found = translated(error, "cannot delete 'k' in 's3://b'", deletes=True)
    assert type(found) is RepositoryReadOnly
    assert "login" in found.hint


def test_what_a_store_says_cannot_steer_a_terminal() -> None:
    found = translated(GenericError("x <Code>E</Code><Message>a\x1b[2Jb\r</Message>"), "cannot")
    assert found.message.isprintable()


def test_a_signed_address_is_never_shown_nor_kept_as_a_cause() -> None:
    with pytest.raises(RepositoryUnreachable) as raised, errors_of("read", "k", "azure://a/c"):
        raise GenericError(SIGNED)
    assert "SECRET" not in str(raised.value)
    assert "error sending request" in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
