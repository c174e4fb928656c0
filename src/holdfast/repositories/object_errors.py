"""What object stores say when they refuse, in our words: the cause, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from holdfast.model.errors import (
    AlreadyStored,
    HoldfastError,
    ObjectMissing,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryRefused,
    RepositoryUnreachable,
)
from holdfast.repositories.http_transport import printable
from holdfast.repositories.tls_faults import TlsFault, in_text

# A request's address may carry a signature (Azure's shared access does): none is ever shown.
_QUERY = re.compile(r"\?[^\s)]*")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]+)</Message>")
# No right to delete, or what is locked, or has snapshots, or is a marker of a deletion.
_KEEPING = re.compile(r"(?:status code: |\(code: )(?:403|405|409|412)\b")
# A name that obstore takes for no name: it refuses the list that holds it.
_IMPOSSIBLE = "Encountered object with invalid path"
_REFUSAL = re.compile(r"status code: 40[13]|\(code: 40[13]\)")

_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "AccountQuotaExceeded"}
# These are told as conflicts, as a name that exists is, and are something else.
_LATER = {
    "ConditionalRequestConflict",
    "OperationAborted",
    "ContainerBeingDeleted",
    "ContainerDisabled",
    "AccountBeingCreated",
    "ServerBusy",
    "SlowDown",
}
_CLOCK = "timedatectl status must say 'synchronized: yes': install chrony or systemd-timesyncd"
_KEYS = "the access key or its secret is wrong: see docs/repositories.md for where they come from"
REMEDIES = {
    "RequestTimeTooSkewed": f"this host's clock is wrong: {_CLOCK}",
    "RequestExpired": f"this host's clock is wrong: {_CLOCK}",
    "ExpiredToken": "the session token has run out: hand a new one to the host",
    "TokenRefreshRequired": "the session token has run out: hand a new one to the host",
    "InvalidToken": "the session token is not the store's: hand a new one to the host",
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "AuthenticationFailed": _KEYS,
    "NoSuchBucket": "make the bucket, or mend 'bucket' and 'endpoint' in the configuration",
    "ContainerNotFound": "make the container, or mend 'container' in the configuration",
    "AuthorizationHeaderMalformed": "mend 'region' in the configuration",
    "PermanentRedirect": "mend 'region' or 'endpoint' in the configuration",
}
RIGHTS = "grant the rights that docs/repositories.md lists: list, get, put, delete, abort"
_KEPT = "this login may not delete, or the store keeps it for a time: delete with one that may"


def no_fault() -> TlsFault | None:
    """Where there is no tunnel of ours."""
    return None


@contextmanager
def errors_of(
    verb: str, key: str, store: str, *, tunnel: Callable[[], TlsFault | None] = no_fault
) -> Iterator[None]:
    """Errors of obstore as ours; `from None`, because its own words may hold a signed address.

    `tunnel` tells why there was none to the store, where obstore goes through one of ours.
    """
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        what = f"cannot {verb} '{key}' in '{store}'"
        told = translated(error, what, deletes=verb == "delete")
        if isinstance(told, RepositoryUnreachable) and (fault := tunnel()) is not None:
            told = _not_believed(what, fault)
        raise told from None


def translated(error: Exception, what: str, *, deletes: bool = False) -> HoldfastError:
    """The class by what the operator can do about it."""
    text = str(error)
    found = _CODE.search(text)
    code = found[1] if found else ""
    cause = f"{what}: {_cause(text, code)}"
    if code in _FULL or "507 Insufficient Storage" in text:
        return RepositoryFull(cause, hint="free some room, or prune old backups: holdfast prune")
    if code in _LATER:
        return RepositoryUnreachable(cause, hint="trying later may work")
    if code in REMEDIES:
        return RepositoryRefused(cause, hint=REMEDIES[code])
    if deletes and (isinstance(error, PermissionDeniedError) or _KEEPING.search(text)):
        return RepositoryReadOnly(cause, hint=_KEPT)
    if isinstance(error, AlreadyExistsError | PreconditionError):
        return AlreadyStored(f"{what}: the key exists", hint="what is stored is never overwritten")
    if isinstance(error, FileNotFoundError):
        return ObjectMissing(
            f"{what}: there is no such object",
            hint="run holdfast verify to see what else is missing",
        )
    if _IMPOSSIBLE in text:
        return RepositoryRefused(cause, hint="somebody else put it there: remove it by hand")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or _is_refusal(text):
        return RepositoryRefused(cause, hint=RIGHTS)
    if (fault := in_text(text)) is not None:
        return _not_believed(what, fault)
    return RepositoryUnreachable(cause, hint="is the endpoint right, and does it answer?")


def _not_believed(what: str, fault: TlsFault) -> RepositoryRefused:
    """Trying again mends no certificate."""
    return RepositoryRefused(f"{what}: {fault.cause}", hint=fault.hint)


def _is_refusal(text: str) -> bool:
    """Lists, multipart uploads and Azure's batches tell refusals without a class of their own."""
    return _REFUSAL.search(text) is not None


def _cause(text: str, code: str) -> str:
    """The store's own code and words, or the last that obstore says about the connection."""
    if code:
        message = _MESSAGE.search(text)
        return printable(f"{code}: {message[1]}" if message else code)
    first = _QUERY.sub("", text.partition("\n")[0])
    return printable(first.rpartition(" - ")[2].strip() or first)
