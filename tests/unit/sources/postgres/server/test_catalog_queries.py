"""What is worth compressing."""

from __future__ import annotations

import secrets

from holdfast.sources.postgres.server import catalog_queries

SIZE = catalog_queries.LEAST_BYTES


def test_noise_is_not_worth_compressing() -> None:
    assert catalog_queries.is_incompressible(secrets.token_bytes(SIZE))


def test_noise_with_text_between_is() -> None:
    assert not catalog_queries.is_incompressible(
        secrets.token_bytes(SIZE) + b"text " * (SIZE // 20)
    )


def test_a_handful_of_bytes_says_nothing() -> None:
    assert not catalog_queries.is_incompressible(secrets.token_bytes(SIZE - 1))
