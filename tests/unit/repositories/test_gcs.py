"""Tokens of a service account, signed by its key and renewed before they expire."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from holdfast.repositories.gcs import LIFETIME, RENEW_BEFORE, SCOPE, GoogleTokens

BEGAN = datetime(2026, 11, 20, 2, tzinfo=UTC)


def account(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    fields = {"private_key": private.decode(), "private_key_id": "1", "client_email": "a@b.example"}
    return json.dumps(fields)


def part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_token_says_who_asks_for_what_and_is_signed() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = GoogleTokens(account(key), lambda: BEGAN)()
    head, claims, signature = token.split(".")
    key.public_key().verify(
        part(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    told = json.loads(part(claims))
    assert (told["iss"], told["sub"], told["scope"]) == ("a@b.example", "a@b.example", SCOPE)
    assert told["exp"] - told["iat"] == LIFETIME.total_seconds()
    assert json.loads(part(head)) == {"typ": "JWT", "alg": "RS256", "kid": "1"}


def test_a_token_is_used_until_it_is_old() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = [BEGAN]
    tokens = GoogleTokens(account(key), lambda: now[0])
    first = tokens()
    now[0] = BEGAN + LIFETIME - RENEW_BEFORE - timedelta(seconds=1)
    assert tokens() == first
    now[0] = BEGAN + LIFETIME - RENEW_BEFORE
    assert tokens() != first


def test_another_kind_of_key_is_refused() -> None:
    with pytest.raises(ValueError, match="RSA"):
        GoogleTokens(account(ec.generate_private_key(ec.SECP256R1())), lambda: BEGAN)()
