"""Each command once, as a person sees it: for golden tests, and for the pictures in docs."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from holdfast.model.errors import BackupFailed
from tests.support.still_shop import Shop, shop_tables
from tests.support.terminal import Terminal, terminal

WIDTHS = (60, 100, 200)
# The free disk space of this host.
FREE = re.compile(r"[0-9.]+ [KMGT]iB free")


def screens(folder: Path, columns: int) -> Iterator[tuple[str, str, Terminal]]:
    """The name of each screen, the command, and the terminal after it."""
    shop = Shop(folder)
    for name, line, hours in (
        ("plan", "plan shop", 0),
        ("backup", "backup shop", 1),
        ("verify", "verify shop/latest", 2),
        ("restore", "restore shop/latest --to postgresql:///shop_check", 3),
    ):
        with terminal(_run(shop, line, hours), columns=columns) as shown:
            shown.finish()
            yield name, line, shown
    stuck = replace(shop.tables[1], waits_for=threading.Event())
    shop.tables = (shop.tables[0], stuck, shop.tables[2])
    with terminal(_run(shop, "backup shop", 25), columns=columns) as shown:
        # Two of three parts are stored and the third waits, so the screen stays until it is
        # interrupted.
        shown.until(lambda text: ("25%" if columns < WIDTHS[1] else "2 of 3 parts") in text)
        yield "backup-in-progress", "backup shop", shown
        shown.press(b"\x03")
        shown.finish()
        yield "interrupted", "backup shop", shown
    broken = BackupFailed("cannot read table 'public.events': disk error", hint="look at the disk")
    shop.tables = (replace(shop_tables()[0], fails_with=broken), *shop.tables[2:])
    with terminal(_run(shop, "backup shop", 49), columns=columns) as shown:
        shown.finish()
        yield "error", "backup shop", shown
    for name, line, hours in (
        ("list", "list shop", 50),
        ("show", "show shop/latest", 50),
        ("windows", "windows shop", 50),
        ("status", "status", 50),
    ):
        with terminal(_run(shop, line, hours), columns=columns) as shown:
            shown.finish()
            yield name, line, shown


def _run(shop: Shop, line: str, hours: int) -> Callable[[], None]:
    return shop.program(*line.split(), at=timedelta(hours=hours))


def text_of(line: str, shown: Terminal) -> str:
    """The screen after its prompt, without what differs between hosts."""
    text = FREE.sub("SIZE free", shown.text)
    return f"$ holdfast {line}\n{text}\n"
