"""The page of a fleet: written whole, bounded, escaped, and the same states as the table."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from holdfast.catalog.host_statuses import HostStatuses
from holdfast.cli.fleet_page.pictures import line, pictures_of
from holdfast.cli.fleet_page.render import page, policy
from holdfast.cli.fleet_page.view import PageView, length_of
from holdfast.model.errors import RepositoryUnreachable
from holdfast.model.fleet import Allowed, Told, rows_of
from holdfast.model.host_status import Day, HostStatus
from holdfast.operations.fleet import Fleet
from holdfast.repositories.local import LocalRepository
from lab.state import PROJECT
from tests.support.command_line import CommandLine
from tests.support.fleets import NOW, act, good_backup, long_known, many, status_of

TAG = "</script><svg onload=alert(1)>&\"'"


def rendered(statuses: Iterable[HostStatus], *expected: tuple[str, str]) -> str:
    told = [Told(job=each.job, host=each.host, status=each, repositories=()) for each in statuses]
    rows = rows_of(told, expected, allowed=Allowed(), now=NOW)
    view = PageView(fleet=Fleet(rows=tuple(rows), unseen={}), at=NOW, version="1")
    return b"".join(page(view)).decode()


def data_in(html: str) -> list[dict[str, Any]]:
    """The jobs in the block of data, as a browser reads it: up to the first end of a script."""
    start = html.index('id="data">') + len('id="data">')
    jobs: list[dict[str, Any]] = json.loads(html[start : html.index("</script", start)])["jobs"]
    return jobs


class Tags(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_the_states_are_those_of_the_table_worst_first() -> None:
    jobs = data_in(rendered(many(40), ("never", "shop")))
    assert [each["state"] for each in jobs[:6]] == [
        *("missing", "damaged", "stopped", "full", "failed", "overdue")
    ]
    assert len(jobs) == 121


def test_all_that_a_host_tells_is_text() -> None:
    failed = act("backup", "failed", error=TAG, hint=TAG)
    newest = replace(good_backup(), backup=TAG, database=TAG)
    told = status_of("db1", TAG, acts=(failed,), newest=newest, version=TAG)
    html = rendered([told], (TAG, TAG))
    tags = Tags(html)
    assert tags.names.count("script") == 2
    assert not [each for each in tags.attributes if each.startswith("on")]
    jobs = data_in(html)
    assert {each["host"] for each in jobs} == {TAG, "db1"}
    assert [each["why"] for each in jobs if each["host"] == "db1"] == [
        f"its last backup failed: {TAG}"
    ]


def test_a_page_loads_nothing_and_has_no_style_or_script_beside_its_blocks() -> None:
    html = rendered(many(2))
    tags = Tags(html)
    assert {"img", "iframe", "object", "base"}.isdisjoint(tags.names)
    assert "style" not in tags.attributes
    assert re.findall(r'(?:src|href)="(?!#|data:image)[^"]*"', html) == []
    assert "'unsafe" not in policy()
    assert policy().startswith("default-src 'none'; script-src 'sha256-")


def test_numbers_and_times_of_any_size_are_shown() -> None:
    huge = replace(good_backup(), seconds=1e18, plain_bytes=2**63 - 1, stored_bytes=2**63 - 1)
    days = (Day(day="2026-11-29", outcome="ok", seconds=-1e18, stored_bytes=2**63 - 1),) * 2
    (job,) = data_in(rendered([status_of(newest=huge, days=days, free_bytes=2**63 - 1)]))
    assert job["newest"][4] == 2**63 - 1
    assert length_of(-5.0) == "0.0s"
    assert length_of(1e18).endswith("h") or "d" in length_of(1e18)


def test_a_strip_says_in_words_what_it_shows() -> None:
    index = {f"2026-11-{day:02}": day - 1 for day in range(1, 31)}
    found = pictures_of(
        [
            Day(day="2026-11-01", outcome="ok"),
            Day(day="2026-11-02", outcome="ok", failed=1),
            Day(day="2026-11-03", outcome="failed"),
            Day(day="2026-10-01", outcome="failed"),
        ],
        index,
    )
    assert found.strip_words == (
        "last 30 days: 1 good, 1 with warnings, 1 failed, 27 without a backup"
    )
    assert dict(found.strip)["bad"] == "M8 0h3V20h-3z"


@pytest.mark.parametrize(
    ("points", "path"),
    [
        ([], ""),
        ([(0, 5)], ""),
        ([(0, 0), (1, 0)], ""),
        ([(0, 0), (29, 10)], "M2 19L118 1"),
        ([(0, 100), (1, 99)], "M2 1L6 2"),
        # Numbers so small that a part of them is 0, or that a share of them is infinite.
        ([(0, 5e-324), (1, 5e-324)], ""),
        ([(0, 1e-310), (1, 0)], ""),
    ],
)
def test_a_line_runs_from_the_least_to_the_largest(
    points: list[tuple[int, float]], path: str
) -> None:
    assert line(points) == path


def told_in(cli: CommandLine, *statuses: HostStatus) -> None:
    for each in statuses:
        HostStatuses(LocalRepository(cli.repository)).commit(each)


def test_the_page_is_written_for_everybody_and_the_code_stays(cli: CommandLine) -> None:
    told_in(cli, status_of("db1", "shop"))
    path = cli.folder / "fleet.html"
    answer = cli.holdfast("fleet", "--html", str(path), "--max-age", "1s")
    assert answer.exit_code == 44
    assert "1 of 1 job of 1 host needs attention" in answer.stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert data_in(path.read_text())[0]["state"] in ("silent", "overdue")
    assert list(cli.folder.glob(".fleet*")) == []


def test_the_page_goes_to_stdout_alone(cli: CommandLine) -> None:
    told_in(cli, status_of("db1", "shop"))
    answer = cli.holdfast("fleet", "--html", "-")
    assert answer.stdout.startswith("<!doctype html>")
    assert answer.stdout.endswith("</html>")


def test_an_older_page_stays_where_a_new_one_cannot_be_made(cli: CommandLine) -> None:
    path = cli.folder / "fleet.html"
    path.write_text("the last one")
    cli.repository.rename(cli.folder / "gone")
    answer = cli.holdfast("fleet", "--html", str(path))
    assert answer.exit_code == 50
    assert path.read_text() == "the last one"
    answer = cli.holdfast("fleet", "--html", str(cli.folder / "none" / "fleet.html"))
    assert answer.exit_code == 50


def test_a_folder_that_cannot_be_written_ends_with_10(cli: CommandLine) -> None:
    answer = cli.holdfast("fleet", "--html", str(cli.folder / "none" / "fleet.html"))
    assert answer.exit_code == 10
    assert "cannot write the page" in answer.stderr


@pytest.mark.parametrize("name", ["", ".", "/", "pipe", "link", "folder"])
def test_only_a_file_is_replaced(cli: CommandLine, name: str) -> None:
    target = cli.folder / "target"
    target.write_text("of somebody else")
    (cli.folder / "folder").mkdir()
    (cli.folder / "link").symlink_to(target)
    os.mkfifo(cli.folder / "pipe")
    path = str(cli.folder / name) if name.isalpha() else name
    before = sorted(cli.folder.iterdir())
    answer = cli.holdfast("fleet", "--html", path)
    assert answer.exit_code == 10
    assert "it exists and is no regular file" in answer.stderr
    assert "--html - writes to stdout" in answer.stderr
    assert (cli.folder / "pipe").is_fifo()
    assert (cli.folder / "link").is_symlink()
    assert sorted(cli.folder.iterdir()) == before


@pytest.mark.parametrize(
    ("rows", "unseen", "title", "verdict"),
    [
        (1, False, "All good", "1 job of 1 host: all healthy"),
        (1, True, "Not all was read", "1 job of 1 host: healthy when they were read last"),
        (0, False, "No host so far", "No host has left its state so far"),
        (0, True, "Not all was read", "No status could be read."),
    ],
)
def test_who_was_not_read_is_not_said_to_be_good(
    rows: int, unseen: bool, title: str, verdict: str
) -> None:
    told = [Told(job="shop", host="db1", status=status_of(), repositories=("main",))][:rows]
    error = RepositoryUnreachable("cannot list 'main'", hint="wait")
    fleet = Fleet(
        rows=tuple(rows_of(told, allowed=Allowed(), now=NOW)),
        unseen={"main": error} if unseen else {},
    )
    html = b"".join(page(PageView(fleet=fleet, at=NOW, version="1"))).decode()
    assert f"<title>{title} · holdfast fleet</title>" in html
    assert verdict in html
    assert ("%231f9d5f" in html, 'class="verdict good"' in html) == (not unseen, not unseen)


def test_a_page_of_nobody_is_no_good_news(cli: CommandLine) -> None:
    answer = cli.holdfast("fleet", "--html", str(cli.folder / "fleet.html"))
    assert answer.exit_code == 0
    assert answer.stdout.startswith("no host has left its state so far")


def test_two_kinds_of_output_are_refused(cli: CommandLine) -> None:
    assert cli.holdfast("fleet", "--html", "-", "--json").exit_code == 2


def test_a_page_is_rendered_in_pieces() -> None:
    statuses = list(many(30))
    told = [Told(job=each.job, host=each.host, status=each, repositories=()) for each in statuses]
    rows = rows_of(told, (), allowed=Allowed(), now=NOW)
    view = PageView(fleet=Fleet(rows=tuple(rows), unseen={}), at=NOW, version="1")
    sizes = [len(each) for each in page(view)]
    assert max(sizes) < sum(sizes) / 4, "never the whole page at once"


def test_jinja_is_loaded_for_a_page_only(cli: CommandLine) -> None:
    script = (
        "import sys; from holdfast.cli.program import loaded; loaded('fleet');"
        " assert 'jinja2' not in sys.modules and 'http.server' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=PROJECT / "src")


def test_the_wheel_holds_what_the_page_is_made_of(tmp_path: Path) -> None:
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(PROJECT)]
    subprocess.run([sys.executable, *build], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("page.html.j2", "page.css", "page.js"):
        assert f"holdfast/cli/fleet_page/templates/{name}" in names


def test_a_detail_has_what_the_status_has() -> None:
    (job,) = data_in(rendered([long_known("db1", "shop")]))
    assert [each[0] for each in job["acts"]] == ["backup", "drill", "prune", "verify"]
    assert job["failures"][0][5].startswith("cannot connect")
    assert (len(job["holdings"]["backups"]), job["holdings"]["count"]) == (14, 31)
    assert [each[3] for each in job["drills"]] == [True, False, True]
    assert len(job["days"]) == 30
    assert (
        job["holdings"]["windows"][0][3] - job["holdings"]["windows"][0][2]
        == timedelta(days=13, hours=10).total_seconds()
    )
