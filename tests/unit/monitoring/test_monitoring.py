"""The alerts and the board use what a host really exports, and promtool accepts both."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from holdfast.host_state.metrics import TextfileGauges
from holdfast.model.errors import NotificationFailed
from holdfast.ports.host_state import WalReach
from tests.fakes.clock import START
from tests.support.command_line import CommandLine
from tests.support.receivers import closed_port

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / "monitoring"
RULES, TESTS = FOLDER / "holdfast.rules.yml", FOLDER / "holdfast.test.yml"
BOARD: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text())
# Prometheus adds it to all that it reads from a host.
ADDED = {"instance"}
GROUPINGS = r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)"

Exported = dict[str, set[str]]


@pytest.fixture
def exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Exported:
    """The labels of each metric after a backup and a drill, with a receiver that nobody reaches."""
    cli, folder = CommandLine(tmp_path, monkeypatch, capsys), tmp_path / "metrics"
    folder.mkdir()
    receiver = f"{{kind: webhook, url: 'http://127.0.0.1:{closed_port()}/', on: [success]}}"
    cli.configure("overdue_after: 26h\n    drill: {rto: 2h, rpo: 15m}")
    text = f"metrics_directory: {folder}\nnotify: {{ops: {receiver}}}\n{cli.config.read_text()}"
    cli.config.write_text(text)
    assert cli.holdfast("backup", "shop").exit_code == 0
    assert cli.holdfast("verify", "shop").exit_code == 0
    assert cli.holdfast("drill", "shop").exit_code == 0
    # Only a cluster has WAL.
    TextfileGauges(folder).show_wal(WalReach(job="shop", at=START, archived_at=START, gaps=0))
    # It tells nobody, as nobody can be reached; it also looks for overdue jobs.
    assert cli.holdfast("notify", "send").exit_code == NotificationFailed.exit_code
    found: Exported = {}
    for path in folder.iterdir():
        for family in text_string_to_metric_families(path.read_text()):
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    found.setdefault(sample.name, set()).update(sample.labels)
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def strings(value: Any, key: str) -> Iterator[str]:
    """The values of `key` anywhere in a document."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name == key and isinstance(each, str):
                yield each
            else:
                yield from strings(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each, key)


def expressions() -> list[str]:
    return [*(rule["expr"] for rule in rules()), *strings(BOARD, "expr")]


def problems(expression: str, exported: Exported) -> list[str]:
    """The metrics that no host exports, and labels that the metrics do not have."""
    names = re.findall(r"\bholdfast_\w+", expression)
    found = [name for name in names if name not in exported]
    for name, selector in re.findall(r"\b(holdfast_\w+)\{([^}]*)\}", expression):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        found += [f"{name}: {each}" for each in labels - exported.get(name, set()) - ADDED]
    known = set[str]().union(*(exported.get(name, set()) for name in names), ADDED)
    for group in re.findall(GROUPINGS, expression):
        found += [label for label in re.findall(r"\w+", group) if label not in known]
    return found


def test_alerts_and_board_use_what_is_exported(exported: Exported) -> None:
    found = {each: problems(each, exported) for each in expressions()}
    assert {each: bad for each, bad in found.items() if bad} == {}
    assert len(found) > 25


@pytest.mark.parametrize(
    ("expression", "bad"),
    [
        ("holdfast_run_okay == 0", ["holdfast_run_okay"]),
        ('holdfast_run_ok{job="shop"} == 0', ["holdfast_run_ok: job"]),
        ("max by (host) (holdfast_run_ok)", ["host"]),
        ('holdfast_run_ok{instance="db1",backup_job="shop"}', []),
    ],
)
def test_a_metric_or_label_that_nobody_exports_is_found(
    exported: Exported, expression: str, bad: list[str]
) -> None:
    assert problems(expression, exported) == bad


def test_texts_of_alerts_name_labels_that_their_metrics_have(exported: Exported) -> None:
    for rule in rules():
        names = re.findall(r"\bholdfast_\w+", rule["expr"])
        known = set[str]().union(*(exported[name] for name in names), ADDED)
        texts = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", texts)) <= known, rule["alert"]
        assert {"summary", "description"} == set(rule["annotations"]), rule["alert"]


def test_the_page_explains_every_exported_metric_and_no_other(exported: Exported) -> None:
    page = (PROJECT / "docs/monitoring.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `holdfast_")]
    told = {name for row in rows for name in re.findall(r"`(holdfast_\w+)`", row)}
    assert told == exported.keys()


def test_the_page_lists_every_alert() -> None:
    page = (PROJECT / "docs/monitoring.md").read_text()
    assert set(re.findall(r"^\| `(Holdfast\w+)`", page, re.MULTILINE)) == {
        rule["alert"] for rule in rules()
    }


def test_every_alert_fires_in_its_test() -> None:
    told = set(re.findall(r'alertname=\\?"(Holdfast\w+)\\?"', TESTS.read_text()))
    assert told == {rule["alert"] for rule in rules()}


@pytest.mark.stock("promtool")
def test_promtool_sees_every_alert_fire_and_stay_silent_as_its_test_says() -> None:
    ran = subprocess.run(
        ["promtool", "test", "rules", TESTS], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "SUCCESS" in ran.stdout) == (0, True), ran.stdout + ran.stderr


@pytest.mark.stock("promtool")
def test_promtool_reads_every_expression_of_the_board(tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel:{number}", "expr": each.replace("$__rate_interval", "5m")}
        for number, each in enumerate(strings(BOARD, "expr"))
    ]
    path = tmp_path / "board.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": recorded}]}))
    ran = subprocess.run(
        ["promtool", "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, f"{len(recorded)} rules found" in ran.stdout) == (0, True), ran.stderr


def test_the_board_asks_for_what_is_exported_in_its_variables(exported: Exported) -> None:
    variables = [each for each in BOARD["templating"]["list"] if each["type"] == "query"]
    assert [each["name"] for each in variables] == ["instance", "backup_job", "database"]
    for each in variables:
        query = each["query"]["query"]
        metric, label = re.findall(r"^label_values\((holdfast_\w+).*, (\w+)\)$", query)[0]
        assert label == each["name"]
        assert label in exported[metric] | ADDED
        assert problems(query, exported) == []


def test_panels_of_the_board_have_their_own_place_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        assert panel["title"]
        assert panel["description"]
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert set(strings(BOARD["panels"], "uid")) == {"${datasource}"}
