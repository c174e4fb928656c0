"""Debian's Chromium without a window, and pages of a fleet that it opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from holdfast.cli.fleet_page.render import page as rendered
from holdfast.cli.fleet_page.view import PageView
from holdfast.model.fleet import Allowed, Told, rows_of
from holdfast.model.host_status import HostStatus
from holdfast.operations.fleet import Fleet
from tests.runner.steps import LOGS
from tests.support.fleets import NOW, many

CHROMIUM = "/usr/bin/chromium"
# Nothing of it may call home, and a test as root has no sandbox.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = LOGS / "browser"
WIDE, PHONE = (1600, 1000), (375, 812)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@dataclass(kw_only=True)
class Opened:
    """A page in a browser, and what it wrote to its console or asked of a network."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def hosts(self) -> list[str]:
        return self.page.locator("#jobs tbody th a").all_inner_texts()

    def states(self) -> list[str]:
        return self.page.locator("#jobs tbody .badge").all_inner_texts()

    def asked(self, script: str) -> Any:
        return self.page.evaluate(script)

    def picture(self, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png")


Open = Callable[..., Opened]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens an address in a context of its own; nobody may have complained at the end."""
    opened: list[Opened] = []

    def open_it(address: str, *, size: tuple[int, int] = WIDE, **context: Any) -> Opened:
        viewport = {"width": size[0], "height": size[1]}
        page = browser.new_context(viewport=viewport, **context).new_page()  # type: ignore[arg-type]
        one = Opened(page=page)
        opened.append(one)
        page.on("console", lambda said: one.complaints.append(said.text))
        page.on("pageerror", lambda error: one.complaints.append(str(error)))
        page.on("request", lambda request: one.requests.append(request.url))
        page.goto(address)
        return one

    yield open_it
    for each in opened:
        assert each.complaints == []
        each.page.context.close()


def fleet_of(statuses: Iterator[HostStatus], *expected: tuple[str, str]) -> Fleet:
    told = [
        Told(job=each.job, host=each.host, status=each, repositories=("main",)) for each in statuses
    ]
    return Fleet(rows=tuple(rows_of(told, expected, allowed=Allowed(), now=NOW)), unseen={})


def written(folder: Path, fleet: Fleet) -> str:
    """The address of the page of that fleet."""
    path = folder / "fleet.html"
    path.write_bytes(b"".join(rendered(PageView(fleet=fleet, at=NOW, version="0.1.0"))))
    return path.as_uri()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of 61 hosts: 60 with three jobs each, and one that never reported."""
    fleet = fleet_of(many(60), ("never.example.org", "shop"))
    return written(tmp_path_factory.mktemp("page"), fleet)
