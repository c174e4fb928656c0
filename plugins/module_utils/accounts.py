"""Accounts of a host, as its name service knows them."""

from __future__ import annotations

import pwd


def exists(user: str) -> bool:
    """Whether the host has this account."""
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
