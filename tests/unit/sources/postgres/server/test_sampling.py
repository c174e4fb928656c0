"""What is worth compressing."""

from __future__ import annotations

import secrets

from holdfast.sources.postgres.server import sampling

SIZE = sampling.LEAST_BYTES


def test_noise_is_not_worth_compressing() -> None:
    assert sampling.is_incompressible(secrets.token_bytes(SIZE))


def test_noise_with_text_between_is() -> None:
    assert not sampling.is_incompressible(secrets.token_bytes(SIZE) + b"text " * (SIZE // 20))


def test_a_handful_of_bytes_says_nothing() -> None:
    assert not sampling.is_incompressible(secrets.token_bytes(SIZE - 1))
