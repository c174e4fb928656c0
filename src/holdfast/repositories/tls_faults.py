"""What is wrong with a TLS connection, by name, out of what rustls and OpenSSL say.

obstore hands rustls' error on as text in its debug view only, the same words as in its source.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_INNER = re.compile(r"OtherError\(\s*(\w+)")
_ALERT = re.compile(r"AlertReceived\(\s*(\w+)")
_NOT_TLS = re.compile(r"InvalidMessage\(")
_MOMENT = re.compile(r"not_(?:after|before): UnixTime\(\s*(\d+)")
_EXPECTED = re.compile(r'expected: \w+\(\s*"?([^"\s,)]+)')
_PRESENTED = re.compile(r'\w+Name\(\\"([^"\\]+)\\"\)|IpAddress\(([^)]+)\)')

_UNKNOWN_HINT = "name the certificate of whoever signed it in ca_file, or mend 'endpoint'"
_NAME_HINT = "mend 'endpoint', or have the certificate name it (subjectAltName)"
_TIME_HINT = "have it renewed at the store; is this host's clock right? timedatectl"
_OWN_AUTHORITY_HINT = (
    "name it in ca_file; a store behind a proxy needs one of a server:"
    " openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE"
)
_CLIENT_HINT = "the store wants a certificate of its clients, which holdfast has none of"
# rustls' words; those of OpenSSL are numbers (X509_V_ERR_...).
_BY_WORD = {
    "UnknownIssuer": ("is signed by nobody whom this host trusts", _UNKNOWN_HINT),
    "CaUsedAsEndEntity": (
        "is signed by itself, as openssl req -x509 makes it, and is not the one in ca_file",
        _OWN_AUTHORITY_HINT,
    ),
    "EkuError": ("is not for servers (extendedKeyUsage)", _NAME_HINT),
    "InvalidPurpose": ("is not for servers (extendedKeyUsage)", _NAME_HINT),
    "InvalidPurposeContext": ("is not for servers (extendedKeyUsage)", _NAME_HINT),
    "Revoked": ("is revoked", _TIME_HINT),
    "BadSignature": ("has a signature that is wrong", _UNKNOWN_HINT),
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
    """Why nothing can be said to the store, and what mends it."""

    cause: str
    hint: str


def in_text(text: str) -> TlsFault | None:
    """The fault in an error of obstore; None where it is about something else."""
    if found := _CERTIFICATE.search(text):
        inner = _INNER.search(text)
        return _of_certificate(inner[1] if inner else found[1], text)
    if found := _ALERT.search(text):
        hint = "it wants TLS 1.2 or 1.3 in common with us"
        if "Certificate" in found[1] or found[1] in ("UnknownCA", "AccessDenied"):
            hint = _CLIENT_HINT
        return TlsFault(f"the store ended the TLS handshake ({found[1]})", hint)
    if _NOT_TLS.search(text):
        hint = "mend the port of 'endpoint'; a store without TLS is http:// with plain_http: true"
        return TlsFault("it speaks no TLS at that port", hint)
    return None


def in_error(error: BaseException) -> TlsFault | None:
    """The fault in an error of Python's own TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said, hint = _BY_NUMBER.get(
            error.verify_code, (f"cannot be trusted: {error.verify_message}", _UNKNOWN_HINT)
        )
        return TlsFault(f"the store's certificate {said}", hint)
    if isinstance(error, ssl.SSLError):
        hint = "is it the port of TLS, and has it TLS 1.2 or 1.3?"
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
    return f"is for {presented}{whom}" if presented else f"names no host at all{whom}"
