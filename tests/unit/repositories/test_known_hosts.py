"""known_hosts as OpenSSH reads it: known, unknown and changed keys."""

from __future__ import annotations

import base64
import hmac
from hashlib import sha1
from pathlib import Path

import pytest

from holdfast.repositories.known_hosts import HostUntrusted, KnownKeys, keys_in_file, keys_listed

HOST = "backup.example.com"


def key_of(kind: str, content: bytes = b"\0\0\0\4abcd") -> bytes:
    return len(kind).to_bytes(4, "big") + kind.encode() + content


def line_of(kind: str, content: bytes = b"\0\0\0\4abcd") -> str:
    return f"{kind} {base64.b64encode(key_of(kind, content)).decode()}"


ED25519, RSA = "ssh-ed25519", "ssh-rsa"
KEY, OTHER = line_of(ED25519), line_of(ED25519, b"\0\0\0\4wxyz")


def hashed(name: str) -> str:
    salt = b"12345678901234567890"
    digest = hmac.digest(salt, name.encode(), sha1)
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def known(tmp_path: Path, *lines: str, port: int = 22) -> KnownKeys:
    (tmp_path / "known_hosts").write_text("\n".join(lines) + "\n")
    return keys_in_file(tmp_path / "known_hosts", HOST, port)


def is_believed(found: KnownKeys, key: bytes) -> bool:
    try:
        found.require_some()
        found.require(key)
    except HostUntrusted:
        return False
    return True


@pytest.mark.parametrize(
    ("names", "port", "believed"),
    [
        (HOST, 22, True),
        (HOST.upper(), 22, True),
        ("elsewhere.example.com", 22, False),
        ("*.example.com", 22, True),
        ("*.example.net", 22, False),
        ("backup.example.co?", 22, True),
        ("backup.example.?", 22, False),
        ("*", 22, True),
        ("*,!backup.*", 22, False),
        ("!backup.*,*", 22, False),
        ("!other.*,*", 22, True),
        ("10.0.0.1,backup.example.com", 22, True),
        ("backup.example.com.evil.net", 22, False),
        ("backupXexample.com", 22, False),
        (f"[{HOST}]:22", 22, False),
        (f"[{HOST}]:2222", 2222, True),
        (f"[{HOST}]:2222", 2223, False),
        (f"[{HOST}]:*", 2222, True),
        ("[*.example.com]:2222", 2222, True),
        # As OpenSSH: another port of a host that is known without one.
        (HOST, 2222, True),
        (hashed(HOST), 22, True),
        (hashed("other"), 22, False),
        (hashed(f"[{HOST}]:2222"), 2222, True),
        (hashed(HOST), 2222, True),
        ("|1|not base64|at all", 22, False),
        ("|2|AAAA|AAAA", 22, False),
    ],
)
def test_a_line_is_about_the_hosts_that_it_names(
    tmp_path: Path, names: str, port: int, *, believed: bool
) -> None:
    found = known(tmp_path, f"{names} {KEY} a comment", port=port)
    assert is_believed(found, key_of(ED25519)) is believed


def test_a_key_at_another_port_does_not_stand_in_for_the_one_at_this(tmp_path: Path) -> None:
    found = known(tmp_path, f"{HOST} {OTHER}", f"[{HOST}]:2222 {KEY}", port=2222)
    assert is_believed(found, key_of(ED25519))
    assert not is_believed(found, base64.b64decode(OTHER.split()[1]))


def test_only_algorithms_of_known_kinds_are_asked_for(tmp_path: Path) -> None:
    found = known(tmp_path, f"{HOST} {line_of(RSA)}")
    assert found.algorithms == ("rsa-sha2-512", "rsa-sha2-256")
    both = known(tmp_path, f"{HOST} {line_of(RSA)}", f"{HOST} {KEY}")
    assert set(both.algorithms) == {"rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"}


@pytest.mark.parametrize("first", ["the key", "its revocation"])
def test_a_revoked_key_is_believed_nowhere_and_told_as_revoked(tmp_path: Path, first: str) -> None:
    lines = [f"{HOST} {KEY}", f"@revoked * {KEY}"]
    found = known(tmp_path, *(lines if first == "the key" else reversed(lines)))
    with pytest.raises(HostUntrusted, match="revoked"):
        found.require(key_of(ED25519))
    by_port = known(tmp_path, f"[{HOST}]:22 {KEY}", f"@revoked {HOST} {KEY}", port=2222)
    assert not is_believed(by_port, key_of(ED25519))


def test_another_key_of_the_host_is_not_revoked_with_it(tmp_path: Path) -> None:
    assert is_believed(known(tmp_path, f"{HOST} {KEY}", f"@revoked * {OTHER}"), key_of(ED25519))


def test_an_authority_alone_is_refused_by_name(tmp_path: Path) -> None:
    found = known(tmp_path, f"@cert-authority *.example.com {KEY}")
    with pytest.raises(
        HostUntrusted, match=r"only a certificate authority for it \(@cert-authority\)"
    ) as told:
        found.require_some()
    assert told.value.hint.endswith(f"list it too: ssh-keyscan {HOST}")
    # The authority's key is not the host's.
    assert not is_believed(found, key_of(ED25519))


def test_a_host_that_is_known_beside_its_authority_is_known(tmp_path: Path) -> None:
    found = known(tmp_path, f"@cert-authority * {OTHER}", f"{HOST} {KEY}")
    assert is_believed(found, key_of(ED25519))


@pytest.mark.parametrize(
    "junk",
    [
        "",
        "# a comment",
        HOST,
        f"{HOST} {ED25519}",
        f"{HOST} {ED25519} not-base64",
        f"{HOST} {ED25519} {base64.b64encode(key_of(RSA)).decode()}",
        f"@unheard-of {HOST} {KEY}",
        "@revoked",
        "@cert-authority x",
        "\udcff\udcfe not text",
        "\0" * 40,
    ],
)
def test_what_says_nothing_of_a_host_is_passed_over(tmp_path: Path, junk: str) -> None:
    path = tmp_path / "known_hosts"
    path.write_bytes(f"{junk}\n".encode(errors="surrogateescape") * 2)
    assert keys_in_file(path, HOST, 22).keys == frozenset()
    with path.open("a") as file:
        file.write(f"{HOST} {KEY}\n")
    assert is_believed(keys_in_file(path, HOST, 22), key_of(ED25519))


def test_keys_of_kinds_that_cannot_be_used_are_told_as_such(tmp_path: Path) -> None:
    found = known(tmp_path, f"{HOST} {line_of('ssh-dss')}")
    with pytest.raises(HostUntrusted, match="only of types that cannot be used: ssh-dss"):
        found.require_some()


def test_nobody_is_known_by_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(HostUntrusted, match="key is not known") as told:
        known(tmp_path, port=2222).require_some()
    assert told.value.hint.endswith(f": ssh-keyscan -p 2222 {HOST}")


def test_listed_keys_are_the_hosts_at_any_port() -> None:
    found = keys_listed([f"{KEY} comment", line_of(RSA)], HOST, 2222)
    assert is_believed(found, key_of(RSA))
    assert not is_believed(found, base64.b64decode(OTHER.split()[1]))


@pytest.mark.parametrize("line", ["", "ssh-ed25519", f"{HOST} {KEY}", f"@revoked * {KEY}", "x y"])
def test_what_is_listed_and_is_no_key_is_told(line: str) -> None:
    with pytest.raises(HostUntrusted, match="is not a public key"):
        keys_listed([line], HOST, 22)
