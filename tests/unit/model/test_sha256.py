"""A short text has the same SHA-256 by whatever computes it."""

from __future__ import annotations

import hashlib

import pytest

from holdfast.model import sha256


@pytest.mark.parametrize("own", [sha256._WITHOUT_OPENSSL, ("_none", "_at_all"), ()])
@pytest.mark.parametrize("size_bytes", [0, 1000, sha256._FEW_BYTES])
def test_a_short_text_has_the_same_sha256_without_openssl(
    monkeypatch: pytest.MonkeyPatch, own: tuple[str, ...], size_bytes: int
) -> None:
    monkeypatch.setattr(sha256, "_WITHOUT_OPENSSL", own)
    content = bytes(size_bytes)
    assert sha256.sha256_hex(content) == hashlib.sha256(content).hexdigest()
