"""The page of a fleet in a real browser: what it shows, finds, sorts, and who can use it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from holdfast.cli.fleet_page.server import Address, PageServer
from holdfast.cli.fleet_page.state import FleetState
from holdfast.model.errors import RepositoryUnreachable
from holdfast.operations.fleet import Fleet
from tests.browser.conftest import PHONE, WIDE, Open, fleet_of, written
from tests.support.fleets import NOW, act, long_known, many, status_of

DETAIL = "#open=db0000.example.org%2Fshop"
# Names that would become a part of the page if anything in it were read as HTML.
HOSTILE = "</script><img src=x onerror=alert(1)><b>&amp;\u2028"


def violations(page: Page) -> list[str]:
    """What axe finds, each with the first element that it is about."""
    found = Axe().run(page)
    return [
        f"{each['id']}: {each['nodes'][0]['target']} {each['nodes'][0]['failureSummary']}"
        for each in found.response["violations"]
    ]


def test_the_worst_come_first_and_nothing_is_asked_of_a_network(
    open_page: Open, address: str
) -> None:
    page = open_page(address)
    states = page.states()
    assert states[:6] == ["never reported", "damaged", "stopped", "full", "failed", "overdue"]
    assert set(states[6:]) == {"healthy"}
    assert page.hosts()[0] == "never.example.org"
    assert page.requests == [address]
    page.picture("wide-light")


def test_a_column_sorts_both_ways_and_says_so(open_page: Open, address: str) -> None:
    page = open_page(address)
    heading = page.page.locator("thead th", has_text="Host")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert page.hosts() == sorted(page.hosts())
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.hosts() == sorted(page.hosts(), reverse=True)
    assert page.page.locator("thead th[aria-sort]").count() == 1
    page.page.get_by_role("button", name="Stored").click()
    sizes = page.asked(
        "JSON.parse(document.querySelector('#data').textContent).jobs"
        ".filter(job => job.newest).map(job => job.newest[4]).sort((a, b) => a - b).slice(0, 3)"
    )
    shown = page.page.locator("#jobs tbody tr td:nth-child(6)").first.inner_text()
    assert shown.startswith(f"{sizes[0] / 2**20:.1f} MiB")


@pytest.mark.parametrize("order", ["__proto__", "constructor", "none", ""])
def test_an_address_with_an_order_that_is_none_shows_the_worst_first(
    open_page: Open, address: str, order: str
) -> None:
    page = open_page(f"{address}#sort={order}")
    assert page.states()[:2] == ["never reported", "damaged"]
    assert page.page.get_by_label("sort").input_value() == "state"


def test_filters_and_search_are_kept_in_the_address(open_page: Open, address: str) -> None:
    page = open_page(address)
    page.page.locator(".tile", has_text="damaged").click()
    assert page.states() == ["damaged"]
    page.page.locator(".tile", has_text="failed").click()
    assert page.states() == ["damaged", "failed"]
    page.page.get_by_label("search").fill("refused CONNECT")
    assert page.states() == ["failed"]
    assert page.page.get_by_role("status").inner_text() == "1 of 181 jobs matches"
    # A colleague who opens the same address sees the same.
    other = open_page(page.page.url)
    assert other.states() == ["failed"]
    assert other.page.get_by_label("search").input_value() == "refused CONNECT"
    other.page.get_by_role("button", name="reset").click()
    assert "#" not in other.page.url
    assert len(other.hosts()) == 181
    other.page.get_by_label("host", exact=True).select_option("db0003.example.org")
    assert len(other.hosts()) == 3
    other.page.get_by_label("job", exact=True).select_option("crm")
    assert other.hosts() == ["db0003.example.org"]
    other.page.get_by_label("search").fill("nothing like this")
    assert other.page.locator("#jobs tbody").inner_text() == "No job matches."


def test_a_detail_opens_by_keyboard_and_by_link_and_ends_where_it_began(
    open_page: Open, address: str
) -> None:
    page = open_page(address)
    page.page.get_by_label("search").fill("db0000 shop")
    page.page.locator("#jobs tbody th a").focus()
    page.page.keyboard.press("Enter")
    dialog = page.page.get_by_role("dialog", name="db0000.example.org / shop")
    text = dialog.inner_text()
    for part in (
        "its last backup failed: cannot connect to the server 'db1': connection refused",
        "hint: start the server",
        "earlier error of backup, 2026-11-27",
        "Windows of recovery",
        "Backups: the newest 14 of 31",
        "shop/20261130T020000Z-1a2b3c4d",
        "RTO 42s",
        "Drills",
        "passed",
    ):
        assert part in text
    assert dialog.get_by_role("img").count() == 2, "a chart of sizes, and one of durations"
    assert "open=db0000.example.org%2Fshop" in page.page.url
    page.page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert page.asked("document.activeElement.textContent") == "db0000.example.org"
    linked = open_page(address + DETAIL)
    assert linked.page.get_by_role("dialog").count() == 1
    linked.picture("detail-light")
    assert violations(linked.page) == []


def test_the_skip_link_leads_to_the_table(open_page: Open, address: str) -> None:
    page = open_page(address)
    page.page.keyboard.press("Tab")
    assert page.asked("document.activeElement.textContent") == "Skip to the table"
    page.page.keyboard.press("Enter")
    assert page.asked("document.activeElement.id") == "jobs"


def test_dark_by_preference_and_by_the_switch(open_page: Open, address: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = open_page(address, color_scheme="dark")
    dark.picture("wide-dark")
    assert violations(dark.page) == []
    light = open_page(address)
    before = light.asked(ground)
    assert before != dark.asked(ground)
    light.page.get_by_label("theme").select_option("dark")
    assert light.asked(ground) == dark.asked(ground)
    light.page.reload()
    assert light.asked(ground) == dark.asked(ground), "it is remembered"
    light.page.get_by_label("theme").select_option("auto")
    assert light.asked(ground) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, (1100, 800), PHONE], ids=str)
def test_axe_finds_nothing_at_any_width(
    open_page: Open, address: str, size: tuple[int, int], scheme: str
) -> None:
    page = open_page(address, size=size, color_scheme=scheme, reduced_motion="reduce")
    assert violations(page.page) == []
    assert page.asked("document.documentElement.scrollWidth <= innerWidth")


def test_a_phone_scrolls_in_one_direction_only(open_page: Open, address: str) -> None:
    page = open_page(address, size=PHONE, color_scheme="dark", has_touch=True)
    page.picture("phone-dark")
    assert page.asked("document.documentElement.scrollWidth") == PHONE[0]
    assert page.page.locator("#jobs tbody tr").first.inner_text().split("\n")[0] == "never reported"
    page.page.locator("#jobs tbody th a").nth(4).tap()
    page.picture("phone-detail")
    assert page.asked("document.querySelector('dialog').scrollWidth <= innerWidth")
    assert violations(page.page) == []


def test_without_scripts_the_rows_are_there(open_page: Open, address: str) -> None:
    page = open_page(address, java_script_enabled=False)
    assert page.page.locator("#jobs tbody tr").count() == 181
    assert "its last verify failed" in page.page.locator("#jobs").inner_text()
    assert not page.page.locator(".filters").is_visible()
    page.picture("without-scripts")


def test_whatever_a_host_tells_is_text(open_page: Open, tmp_path: Path) -> None:
    status = long_known("db1", HOSTILE[:60])
    failed = act("backup", "failed", exit_code=20, error=HOSTILE, hint=HOSTILE)
    newest = replace(status.newest, backup=HOSTILE, database=HOSTILE)  # type: ignore[type-var]
    told = replace(status, acts=(failed,), newest=newest, version=HOSTILE[:60])
    page = open_page(written(tmp_path, fleet_of(iter([told]), (HOSTILE, HOSTILE))))
    assert page.page.locator("#jobs tbody img, #jobs tbody b, dialog img, dialog b").count() == 0
    assert HOSTILE[:-1] in page.page.locator("#jobs tbody tr").first.inner_text()
    for row in range(2):
        page.page.locator("#jobs tbody th a").nth(row).click()
        assert page.page.locator("dialog[open] :is(img:not([class]), b, script)").count() == 0
        assert "</script><img" in page.page.get_by_role("dialog").inner_text()
        page.page.keyboard.press("Escape")


def test_the_policy_stops_what_is_not_the_pages_own(open_page: Open, address: str) -> None:
    page = open_page(address)
    stopped = page.asked(
        "(() => { try { document.body.innerHTML = '<b>x</b>'; return false; }"
        " catch (error) { return error instanceof TypeError; } })()"
    )
    assert stopped
    assert page.complaints, "the browser says that it refused"
    page.complaints.clear()


def test_a_thousand_hosts_stay_usable(open_page: Open, tmp_path: Path) -> None:
    page = open_page(written(tmp_path, fleet_of(many(1000))))
    assert page.page.locator("#jobs tbody tr").count() == 200
    assert page.page.get_by_role("status").inner_text() == "the first 200 of 3000 jobs"
    page.page.get_by_role("button", name="show more").click()
    assert page.page.locator("#jobs tbody tr").count() == 400
    took = page.asked(
        "(() => { const began = performance.now(); const q = document.querySelector('#q');"
        " q.value = 'db0999'; q.dispatchEvent(new Event('input'));"
        " document.body.getBoundingClientRect(); return performance.now() - began; })()"
    )
    assert page.hosts() == ["db0999.example.org"] * 3
    # A tenth of this on a quiet machine.
    assert took < 1000


@pytest.fixture
def served() -> Iterator[tuple[PageServer, list[Fleet]]]:
    """A server whose next reading of the fleet is the last one of the list."""
    fleets = [fleet_of(iter([status_of("db1")]))]
    state = FleetState(lambda: fleets[-1], refresh=timedelta(0), clock=lambda: NOW)
    with PageServer(Address(host="127.0.0.1", port=0), state) as server:
        state.begin()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server, fleets
        server.shutdown()
        thread.join()


def test_a_served_page_follows_the_fleet_and_shows_what_cannot_be_read(
    open_page: Open, served: tuple[PageServer, list[Fleet]]
) -> None:
    server, fleets = served
    page = open_page(server.url)
    assert page.states() == ["healthy"]
    assert page.page.get_by_label("reload every").is_checked()
    # A reload would end what looks at the page.
    page.page.get_by_label("reload every").uncheck()
    assert page.page.url.endswith("#live=off")
    error = RepositoryUnreachable("cannot list 'main': no route", hint="is the network up?")
    fleets.append(replace(fleets[0], unseen={"main": error}, read_at={"main": NOW}))
    page.page.reload()
    problem = page.page.locator(".problem").inner_text()
    assert "main was not read: cannot list 'main': no route" in problem
    assert "What it held at 2026-11-30 12:00 UTC is shown" in problem
    assert page.states() == ["healthy"]
    assert violations(page.page) == []
    page.picture("served-unread")
