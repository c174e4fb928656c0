"""The state that a served page shows: read at most once in a time, and kept while it cannot be."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from holdfast.cli.fleet_document import head_of, of_row
from holdfast.cli.fleet_page.render import page
from holdfast.cli.fleet_page.view import PageView
from holdfast.model.errors import HoldfastError, RepositoryUnreachable
from holdfast.model.redaction import sanitized
from holdfast.operations.fleet import Fleet
from holdfast.runtime import events
from holdfast.runtime.kernel import start

# How long a request waits for a fresh state before it gets the last one.
PATIENCE_SECONDS = 5.0
# A reading that takes longer is told: a store that hangs raises no error.
LONG = timedelta(minutes=5)
# How long a signal may wait that another thread was given.
SIGNAL_SECONDS = 0.5
# A timer of a browser ends at 2**31 milliseconds, and fires at once if it is longer.
LONGEST_RELOAD_SECONDS = 86400
COMPRESSION = 3
ALL = "the fleet"
"""Named in place of a repository by an error of the whole reading."""


class Shown:
    """One reading of the fleet; what is answered with it is made once, when first asked for."""

    def __init__(self, fleet: Fleet, *, at: datetime, refresh: timedelta) -> None:
        self.fleet = fleet
        self.at = at
        self._refresh = refresh
        self._lock = threading.RLock()
        self._made: dict[str, bytes] = {}

    def page(self) -> bytes:
        return self._once("page", self._page)

    def compressed_page(self) -> bytes:
        return self._once("gzip", lambda: gzip.compress(self.page(), COMPRESSION, mtime=0))

    def document(self) -> bytes:
        return self._once("json", self._document)

    def _once(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Only one of many requests makes it; the others wait for that."""
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]

    def _page(self) -> bytes:
        seconds = min(max(1, int(self._refresh.total_seconds())), LONGEST_RELOAD_SECONDS)
        view = PageView(fleet=self.fleet, at=self.at, refresh_seconds=seconds)
        return b"".join(page(view))

    def _document(self) -> bytes:
        """The document of `--json`, made row by row: as one value it is many times as large."""
        rows = b",\n".join(_json(of_row(row)) for row in self.fleet.rows)
        head = _json({"schema": "holdfast.fleet/1", **head_of(self.fleet)})
        return head[:-1] + b', "jobs": [' + rows + b"]}\n"

    @property
    def problem(self) -> str:
        """The error of the first repository that cannot be read; empty if there is none."""
        return next((error.message for error in self.fleet.unseen.values()), "")


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")


class FleetState:
    """The newest reading; a request for one that is too old begins the next, in a thread."""

    def __init__(
        self, read: Callable[[], Fleet], *, refresh: timedelta, clock: Callable[[], datetime]
    ) -> None:
        self._read = read
        self._refresh = refresh
        self._clock = clock
        self._lock = threading.Lock()
        self._shown: Shown | None = None
        self._failed: Exception | None = None
        self._reading: threading.Thread | None = None
        self._began = self._read_at = clock()
        self._is_awaited = False

    def begin(self) -> None:
        """Read for the first time; what cannot work at all is an error of the command.

        In a thread, too: so a signal ends the command at once, also while a store hangs.
        """
        reading = self._begun_if_old()
        while reading is not None and reading.is_alive():
            reading.join(SIGNAL_SECONDS)
        if self._failed is not None:
            raise self._failed

    def current(self, *, patience_seconds: float = PATIENCE_SECONDS) -> Shown:
        """The state, not older than `refresh` unless reading takes longer than the patience."""
        reading = self._begun_if_old()
        if reading is not None:
            reading.join(patience_seconds)
            self._tell_if_long()
        if self._shown is None:
            raise RuntimeError("nothing was read so far")
        return self._shown

    def _begun_if_old(self) -> threading.Thread | None:
        """The thread that reads; None if the state is new enough. There is never a second one."""
        with self._lock:
            if self._reading is not None and self._reading.is_alive():
                return self._reading
            if self._shown is not None and self._is_new(self._shown):
                return None
            self._began, self._is_awaited = self._clock(), True
            thread = threading.Thread(target=self._renew, name="fleet-state", daemon=True)
            self._reading = thread
            start(thread)
            return thread

    def _is_new(self, shown: Shown) -> bool:
        """A clock that was set back makes no state new."""
        return timedelta(0) <= self._clock() - shown.at < self._refresh

    def _renew(self) -> None:
        try:
            found = self._read()
        except Exception as error:  # noqa: BLE001 - the page shows it beside the last state
            self._fail(error)
            return
        with self._lock:
            self._shown = self._made(found)
            self._read_at, self._is_awaited = self._shown.at, False

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self._is_awaited = False
            if self._shown is None:
                self._failed = error
                return
            self._shown = self._with_problem(self._shown, error)
        events.warning("fleet_not_read", error=str(error))

    def _tell_if_long(self) -> None:
        """Once for each reading that takes too long."""
        with self._lock:
            is_long = self._is_awaited and self._clock() - self._began >= LONG
            if self._shown is None or not is_long:
                return
            self._is_awaited = False
            error = RepositoryUnreachable(
                f"cannot read the repositories: no answer since {self._began:%Y-%m-%d %H:%M} UTC",
                hint="a store or a network file system hangs, or is very slow",
            )
            self._shown = self._with_problem(self._shown, error)
        events.warning("fleet_not_read", error=error.message)

    def _with_problem(self, shown: Shown, error: Exception) -> Shown:
        """The last state with an error that has nothing to do with one repository."""
        told = error if isinstance(error, HoldfastError) else HoldfastError(sanitized(repr(error)))
        read_at = {**shown.fleet.read_at, ALL: self._read_at}
        return self._made(replace(shown.fleet, unseen={ALL: told}, read_at=read_at))

    def _made(self, found: Fleet) -> Shown:
        return Shown(found, at=self._clock(), refresh=self._refresh)
