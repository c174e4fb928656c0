"""A short text has the same SHA-256 by whatever computes it."""

from __future__ import annotations

import hashlib
from functools import cache

import pytest

from holdfast.model import sha256


@pytest.mark.parametrize("own", [sha256._WITHOUT_OPENSSL, ("_none", "_at_all"), ()])
@pytest.mark.parametrize("size_bytes", [0, 1000, sha256._FEW_BYTES])
def test_a_short_text_has_the_same_sha256_without_openssl(
    monkeypatch: pytest.MonkeyPatch, own: tuple[str, ...], size_bytes: int
) -> None:
    monkeypatch.setattr(sha256, "_WITHOUT_OPENSSL", own)
    # What other tests found is forgotten, and what this one finds.
    monkeypatch.setattr(sha256, "_without_openssl", cache(sha256._without_openssl.__wrapped__))
    content = bytes(size_bytes)
    assert sha256.sha256_hex(content) == hashlib.sha256(content).hexdigest()


def test_a_module_that_is_missing_is_sought_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sought: list[str] = []

    def none_of(name: str) -> None:
        sought.append(name)
        raise ImportError(name)

    monkeypatch.setattr(sha256, "import_module", none_of)
    monkeypatch.setattr(sha256, "_without_openssl", cache(sha256._without_openssl.__wrapped__))
    assert sha256.sha256_hex(b"one") != sha256.sha256_hex(b"two")
    assert sought == ["_sha2", "_sha256"]
