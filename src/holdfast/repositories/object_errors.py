"""Errors of object stores and TLS as our own errors, with cause and remedy."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

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
from holdfast.model.lazy_dataclass import dataclass
from holdfast.repositories.http_transport import printable

# A request's address may contain a signature (Azure's shared access does), so it is never shown.
_QUERY = re.compile(r"\?[^\s)]*")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]+)</Message>")
# No permission to delete, or the object is locked, has snapshots or is a delete marker.
_KEEPING = re.compile(r"(?:status code: |\(code: )(?:403|405|409|412)\b")
# obstore refuses a whole list if one name in it is invalid.
_IMPOSSIBLE = "Encountered object with invalid path"
_REFUSAL = re.compile(r"status code: 40[13]|\(code: 40[13]\)")

_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "AccountQuotaExceeded"}
# Reported as conflicts, like an existing key, but with other causes.
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
    "ExpiredToken": "the session token has expired: give the host a new one",
    "TokenRefreshRequired": "the session token has expired: give the host a new one",
    "InvalidToken": "the store does not know the session token: give the host a new one",
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "AuthenticationFailed": _KEYS,
    "NoSuchBucket": "create the bucket, or correct 'bucket' and 'endpoint' in the configuration",
    "ContainerNotFound": "create the container, or correct 'container' in the configuration",
    "AuthorizationHeaderMalformed": "correct 'region' in the configuration",
    "PermanentRedirect": "correct 'region' or 'endpoint' in the configuration",
}
RIGHTS = "grant the permissions that docs/repositories.md lists: list, get, put, delete, abort"
_KEPT = "this login may not delete, or a retention lock protects it: use a login that may delete"


def no_fault() -> TlsFault | None:
    """The default `tunnel`: there is no relay, and so no fault."""
    return None


@contextmanager
def errors_of(
    verb: str, key: str, store: str, *, tunnel: Callable[[], TlsFault | None] = no_fault
) -> Iterator[None]:
    """Translates errors of obstore; `from None`, because its text may contain a signed address.

    `tunnel` returns the last TLS fault of our relay, if obstore's connections go through one.
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
    """Our error for one of obstore; its class tells the operator what to do."""
    text = str(error)
    found = _CODE.search(text)
    code = found[1] if found else ""
    cause = f"{what}: {_cause(text, code)}"
    if code in _FULL or "507 Insufficient Storage" in text:
        return RepositoryFull(cause, hint="free space, or prune old backups: holdfast prune")
    if code in _LATER:
        return RepositoryUnreachable(cause, hint="trying later may work")
    if code in REMEDIES:
        return RepositoryRefused(cause, hint=REMEDIES[code])
    if deletes and (isinstance(error, PermissionDeniedError) or _KEEPING.search(text)):
        return RepositoryReadOnly(cause, hint=_KEPT)
    if isinstance(error, AlreadyExistsError | PreconditionError):
        return AlreadyStored(f"{what}: the key exists", hint="stored objects are never overwritten")
    if isinstance(error, FileNotFoundError):
        return ObjectMissing(
            f"{what}: there is no such object",
            hint="run holdfast verify to see what else is missing",
        )
    if _IMPOSSIBLE in text:
        return RepositoryRefused(cause, hint="holdfast did not create it: remove it by hand")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or _is_refusal(text):
        return RepositoryRefused(cause, hint=RIGHTS)
    if (fault := tls_fault_in(text)) is not None:
        return _not_believed(what, fault)
    return RepositoryUnreachable(cause, hint="check the endpoint, and whether it answers")


def _not_believed(what: str, fault: TlsFault) -> RepositoryRefused:
    """A refusal, not an outage: retries cannot repair a certificate."""
    return RepositoryRefused(f"{what}: {fault.cause}", hint=fault.hint)


def _is_refusal(text: str) -> bool:
    """Whether it is a refusal; in lists, multipart uploads and batches of Azure it has no class."""
    return _REFUSAL.search(text) is not None


def _cause(text: str, code: str) -> str:
    """The store's code and message, or the last words of obstore about the connection."""
    if code:
        message = _MESSAGE.search(text)
        return printable(f"{code}: {message[1]}" if message else code)
    first = _QUERY.sub("", text.partition("\n")[0])
    return printable(first.rpartition(" - ")[2].strip() or first)


# The words of rustls: obstore passes them on as text, exactly as they are in its source.
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_INNER = re.compile(r"OtherError\(\s*(\w+)")
_ALERT = re.compile(r"AlertReceived\(\s*(\w+)")
_NOT_TLS = re.compile(r"InvalidMessage\(")
_MOMENT = re.compile(r"not_(?:after|before): UnixTime\(\s*(\d+)")
_EXPECTED = re.compile(r'expected: \w+\(\s*"?([^"\s,)]+)')
_PRESENTED = re.compile(r'\w+Name\(\\"([^"\\]+)\\"\)|IpAddress\(([^)]+)\)')

_UNKNOWN_HINT = "name the certificate of its signer in ca_file, or correct 'endpoint'"
_NAME_HINT = "correct 'endpoint', or get a certificate that names it (subjectAltName)"
_TIME_HINT = "renew it at the store, and check this host's clock: timedatectl"
_OWN_AUTHORITY_HINT = (
    "name it in ca_file; a store behind a proxy needs a server certificate:"
    " openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE"
)
_CLIENT_HINT = "the store requires client certificates, which holdfast does not support"
# The words of rustls; OpenSSL has numbers instead (X509_V_ERR_...).
_BY_WORD = {
    "UnknownIssuer": ("is signed by an authority that this host does not trust", _UNKNOWN_HINT),
    "CaUsedAsEndEntity": (
        "is self-signed (openssl req -x509), and is not the one in ca_file",
        _OWN_AUTHORITY_HINT,
    ),
    "EkuError": ("is not for servers (extendedKeyUsage)", _NAME_HINT),
    "InvalidPurpose": ("is not for servers (extendedKeyUsage)", _NAME_HINT),
    "InvalidPurposeContext": ("is not for servers (extendedKeyUsage)", _NAME_HINT),
    "Revoked": ("is revoked", _TIME_HINT),
    "BadSignature": ("has an invalid signature", _UNKNOWN_HINT),
}
_BY_NUMBER = {
    9: ("is not valid yet", _TIME_HINT),
    10: ("has expired", _TIME_HINT),
    18: _BY_WORD["UnknownIssuer"],
    19: _BY_WORD["UnknownIssuer"],
    20: _BY_WORD["UnknownIssuer"],
    21: _BY_WORD["UnknownIssuer"],
    26: _BY_WORD["InvalidPurpose"],
    62: ("is not for the name of the endpoint", _NAME_HINT),
    64: ("is not for the address of the endpoint", _NAME_HINT),
}


@dataclass(frozen=True, slots=True)
class TlsFault:
    """Why there is no TLS connection to the store, and what to do."""

    cause: str
    hint: str


def tls_fault_in(text: str) -> TlsFault | None:
    """The TLS fault in an error text of obstore; None if it has another cause."""
    if found := _CERTIFICATE.search(text):
        inner = _INNER.search(text)
        return _of_certificate(inner[1] if inner else found[1], text)
    if found := _ALERT.search(text):
        hint = "the store must support TLS 1.2 or 1.3"
        if "Certificate" in found[1] or found[1] in ("UnknownCA", "AccessDenied"):
            hint = _CLIENT_HINT
        return TlsFault(f"the store ended the TLS handshake ({found[1]})", hint)
    if _NOT_TLS.search(text):
        hint = "correct the port of 'endpoint'; for a store without TLS: http:// and plain_http:"
        " true"
        return TlsFault("it does not speak TLS at that port", hint)
    return None


def tls_fault_of(error: BaseException) -> TlsFault | None:
    """The TLS fault in an error of Python's own TLS; None if it has another cause."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said, hint = _BY_NUMBER.get(
            error.verify_code, (f"cannot be trusted: {error.verify_message}", _UNKNOWN_HINT)
        )
        return TlsFault(f"the store's certificate {said}", hint)
    if isinstance(error, ssl.SSLError):
        hint = "check that the port speaks TLS 1.2 or 1.3"
        return TlsFault(f"no TLS connection: {error.reason or error}", hint)
    return None


def _of_certificate(word: str, text: str) -> TlsFault:
    if word.startswith("Expired"):
        return TlsFault(f"the store's certificate has expired{_at(text)}", _TIME_HINT)
    if word.startswith("NotValidYet"):
        return TlsFault(f"the store's certificate is not valid yet{_at(text)}", _TIME_HINT)
    if word.startswith("NotValidForName"):
        return TlsFault(f"the store's certificate {_names(text)}", _NAME_HINT)
    said, hint = _BY_WORD.get(word, (f"cannot be used ({word})", _UNKNOWN_HINT))
    return TlsFault(f"the store's certificate {said}", hint)


def _at(text: str) -> str:
    found = _MOMENT.search(text)
    return f" ({datetime.fromtimestamp(int(found[1]), UTC):%Y-%m-%d %H:%M}Z)" if found else ""


def _names(text: str) -> str:
    wanted = _EXPECTED.search(text)
    whom = f", not for '{wanted[1]}'" if wanted else ""
    presented = ", ".join(f"'{one or other}'" for one, other in _PRESENTED.findall(text))
    return f"is for {presented}{whom}" if presented else f"names no host{whom}"
