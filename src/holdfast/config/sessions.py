"""What may stand under `sessions`: the daemon that holds database sessions."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from holdfast.config.strict import Strict
from holdfast.config.values import AbsolutePath, Duration

SESSION_SOCKET = Path("/run/holdfast-sessiond/socket")


class SessionsSettings(Strict):
    """The daemon that holds database sessions: where it listens, whom it serves, how much it holds.

    Members of `group` may hold sessions of their own, those of `admin_group` end everybody's;
    without either only root and the daemon's own user are served.
    """

    socket: AbsolutePath = SESSION_SOCKET
    group: Annotated[str, Field(min_length=1)] | None = None
    admin_group: Annotated[str, Field(min_length=1)] | None = None
    per_server: Annotated[int, Field(ge=1, le=1000)] = 4
    longest: Duration = timedelta(days=1)
