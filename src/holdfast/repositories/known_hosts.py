"""The known keys of an SSH server, read from known_hosts as OpenSSH does (sshd(8)).

It supports patterns with `*`, `?` and `!`, hashed names, `[host]:port` and `@revoked`. A host that
only a certificate authority vouches for is refused with a message, as only keys are compared.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Iterator
from hashlib import sha1
from pathlib import Path

from holdfast.model.lazy_dataclass import dataclass

SSH_PORT = 22
REVOKED, AUTHORITY = "@revoked", "@cert-authority"
# The signature algorithms for each kind of key, without SHA-1, which proves nothing any more.
ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}


class HostUntrusted(Exception):
    """The server's key is not a known one; says why, and what to do."""

    def __init__(self, cause: str, *, hint: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that concerns the host."""

    marker: str
    kind: str
    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKeys:
    """The known keys of one server; `asked` is the command that prints its keys for comparison."""

    asked: str
    keys: frozenset[bytes]
    kinds: tuple[str, ...]
    revoked: frozenset[bytes] = frozenset()
    has_authority: bool = False

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The signature algorithms to offer: the server is asked for known kinds of keys only."""
        return tuple(each for kind in self.kinds for each in ALGORITHMS.get(kind, ()))

    def require_some(self) -> None:
        """Raise `HostUntrusted` if no key of the server could be trusted."""
        if self.algorithms:
            return
        if self.kinds:
            raise HostUntrusted(
                f"its known keys are only of types that cannot be used: {', '.join(self.kinds)}",
                hint=f"check another of its keys, then list it too: {self.asked}",
            )
        if self.has_authority:
            raise HostUntrusted(
                "known_hosts holds only a certificate authority for it (@cert-authority), and host"
                " certificates are not supported",
                hint=f"check the server's own key, then list it too: {self.asked}",
            )
        raise HostUntrusted(
            "the server's key is not known",
            hint=f"check it, then list it in host_keys or known_hosts: {self.asked}",
        )

    def require(self, key: bytes) -> None:
        """Raise `HostUntrusted` unless `key`, which the server has proven to own, is known."""
        if key in self.revoked:
            raise HostUntrusted(
                "the server shows a key that known_hosts has revoked (@revoked)",
                hint="somebody else may own this key: find out why it was revoked",
            )
        if key not in self.keys:
            raise HostUntrusted(
                "the server shows another key than the known one",
                hint="if the server was reinstalled, correct host_keys or known_hosts; if not,"
                " somebody may be intercepting the connection",
            )


def keys_listed(lines: Iterable[str], host: str, port: int) -> KnownKeys:
    """The keys in lines such as `ssh-ed25519 AAAA...`; raises `HostUntrusted` for other lines."""
    found: list[_Line] = []
    for line in lines:
        kind, _, rest = line.strip().partition(" ")
        parsed = _parsed("", kind, rest)
        if parsed is None:
            raise HostUntrusted(
                "a line of host_keys is not a public key",
                hint="write 'ssh-ed25519 AAAA...', as ssh-keyscan prints it after the name",
            )
        found.append(parsed)
    return _known(found, host, port)


def keys_in_file(path: Path, host: str, port: int) -> KnownKeys:
    """The keys of the server in the known_hosts file `path`; raises `OSError`."""
    # A line that is not text matches no host: OpenSSH skips it too.
    lines = path.read_bytes().decode("utf-8", errors="replace").splitlines()
    by_port = list(_about(lines, f"[{host}]:{port}" if port != SSH_PORT else host))
    # Like OpenSSH: if the port has no entry of its own, the entry of the host counts.
    plain = list(_about(lines, host)) if port != SSH_PORT else []
    found = by_port if any(not each.marker for each in by_port) else plain + by_port
    revoked = [each for each in (*by_port, *plain) if each.marker == REVOKED]
    return _known([*found, *revoked], host, port)


def _known(lines: Iterable[_Line], host: str, port: int) -> KnownKeys:
    lines = list(lines)
    own = [each for each in lines if not each.marker]
    scan = "ssh-keyscan" if port == SSH_PORT else f"ssh-keyscan -p {port}"
    return KnownKeys(
        asked=f"{scan} {host}",
        keys=frozenset(each.key for each in own),
        kinds=tuple(dict.fromkeys(each.kind for each in own)),
        revoked=frozenset(each.key for each in lines if each.marker == REVOKED),
        has_authority=any(each.marker == AUTHORITY for each in lines),
    )


def _about(lines: Iterable[str], name: str) -> Iterator[_Line]:
    for line in lines:
        words = line.split(None, 1)
        if not words or words[0].startswith("#"):
            continue
        marker = words[0] if words[0].startswith("@") else ""
        rest = words[1] if marker and len(words) > 1 else line
        fields = rest.split(None, 2)
        # A key with an unknown marker is not trusted.
        if len(fields) < 3 or (marker and marker not in (REVOKED, AUTHORITY)):
            continue
        if _is_named(name.lower(), fields[0]):
            parsed = _parsed(marker, fields[1], fields[2])
            if parsed is not None:
                yield parsed


def _is_named(name: str, names: str) -> bool:
    if names.startswith("|"):
        return _is_hashed(name, names)
    found = False
    for pattern in names.lower().split(","):
        is_negated = pattern.startswith("!")
        if _pattern(pattern.removeprefix("!")).fullmatch(name):
            if is_negated:
                return False
            found = True
    return found


def _pattern(text: str) -> re.Pattern[str]:
    """Only `*` and `?` are wildcards: brackets surround a name with a port."""
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(char) or re.escape(char) for char in text))


def _is_hashed(name: str, text: str) -> bool:
    """Whether `name` matches `|1|SALT|HASH`, as HashKnownHosts and ssh-keygen -H write it."""
    try:
        _, magic, salt, expected = text.split("|")
        digest = hmac.digest(base64.b64decode(salt), name.encode(), sha1)
        return magic == "1" and hmac.compare_digest(digest, base64.b64decode(expected))
    except (ValueError, binascii.Error):
        return False


def _parsed(marker: str, kind: str, rest: str) -> _Line | None:
    """None if it is not a key, or if the kind inside the key differs from `kind`."""
    try:
        key = base64.b64decode(rest.split()[0], validate=True)
    except (IndexError, ValueError, binascii.Error):
        return None
    said = kind.encode()
    if not key.startswith(len(said).to_bytes(4, "big") + said) or len(key) <= 4 + len(said):
        return None
    return _Line(marker, kind, key)
