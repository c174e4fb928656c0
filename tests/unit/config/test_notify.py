"""Receivers in the configuration: what is accepted, and what is explained where it stands."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.config.load import check_file, load
from holdfast.config.notify import PingSettings, WebhookSettings
from holdfast.model.errors import ConfigInvalid
from holdfast.model.notification import Topic
from holdfast.wiring.notify import rules_of, settings_of
from tests.support.configs import JOB, refused, written

URL = "https://hc.example.net/uuid"


def notify(text: str, job: str = "") -> str:
    return f"notify: {text}\n{JOB}{job}"


def test_defaults_are_those_of_the_kind(tmp_path: Path) -> None:
    text = f'{{watch: {{kind: ping, url: "{URL}"}}, ops: {{kind: webhook, url: "{URL}"}}}}'
    settings = load(written(tmp_path, notify(text)))
    watch, ops = rules_of(settings, "shop")
    assert watch.on == {Topic.START, Topic.SUCCESS, Topic.WARNING, Topic.FAILURE}
    assert watch.commands == {"backup"}
    assert ops.on == {Topic.FAILURE, Topic.WARNING, Topic.OVERDUE}
    assert ops.commands == set()
    assert (ops.after, ops.include_log) == (1, False)
    assert isinstance(settings.notify["watch"], PingSettings)
    assert isinstance(settings.notify["ops"], WebhookSettings)
    assert settings.notify["ops"].timeout == timedelta(seconds=10)


@pytest.mark.parametrize("key", ["on", '"on"', "true"])
def test_the_key_on_is_a_word_however_yaml_reads_it(tmp_path: Path, key: str) -> None:
    text = f'{{ops: {{kind: webhook, url: "{URL}", {key}: [success, drill]}}}}'
    (rule,) = rules_of(load(written(tmp_path, notify(text))), "shop")
    assert rule.on == {Topic.SUCCESS, Topic.DRILL}


def test_a_job_replaces_adds_and_leaves_out_by_name(tmp_path: Path) -> None:
    receiver = f'{{kind: webhook, url: "{URL}"}}'
    text = f"{{a: {receiver}, b: {receiver}}}"
    job = f'    notify: {{a: false, b: {{kind: ping, url: "{URL}"}}, c: {receiver}}}\n'
    settings = load(written(tmp_path, notify(text, job)))
    assert {name: each.kind for name, each in settings_of(settings, "shop").items()} == {
        "b": "ping",
        "c": "webhook",
    }
    assert sorted(settings_of(settings, "another")) == ["a", "b"]


@pytest.mark.parametrize(
    ("receiver", "where", "message", "hint"),
    [
        (f'kind: pager, url: "{URL}"', ".kind", "'pager' is not one of", "ping"),
        ("kind: webhook", ".url", "missing", ""),
        (f'kind: webhook, url: "{URL}", on: [broken]', "on", "'broken' is not one of", "failure"),
        (f'kind: webhook, url: "{URL}", on: []', "on", "at least 1 item", ""),
        (f'kind: webhook, url: "{URL}", after: 0', ".after", "must be at least 1", ""),
        (f'kind: webhook, url: "{URL}", on_: [start]', "on_", "unknown key", "'on'"),
        ('kind: webhook, url: "http://hc.example.net/u"', "ops", "in the clear", "plain_http"),
        ('kind: webhook, url: "hc.example.net"', "ops", "not an address", "https://"),
        ("kind: webhook, url: 5", ".url", "5 is not an address", "quotes"),
        (f'kind: webhook, url: "{URL}", timeout: 5m', "ops", "too long", "1m"),
        (f'kind: webhook, url: "{URL}", commands: [list]', "commands", "'list' is not one of", ""),
        ('kind: apprise, url: "mailtos://x", ca_file: /c', "ops", "no file", "update-ca"),
        ("kind: webhook, url: {file: secret}", "url", "not an absolute path", ""),
    ],
)
def test_what_is_no_receiver_is_explained_where_it_stands(
    tmp_path: Path, receiver: str, where: str, message: str, hint: str
) -> None:
    told, hinted = refused(tmp_path, notify(f"{{ops: {{{receiver}}}}}"))
    assert "line 1: notify.ops" in told
    assert where in told
    assert message in told
    assert hint in hinted + told


@pytest.mark.parametrize("fault", ["open", "missing", "folder"])
def test_a_secret_file_that_cannot_be_used_stops_no_run_and_is_told_by_a_check(
    tmp_path: Path, fault: str
) -> None:
    secret = tmp_path / "url"
    if fault == "folder":
        secret.mkdir()
    elif fault == "open":
        secret.write_text(URL)
        secret.chmod(0o644)
    receiver = f'kind: webhook, url: "{URL}", secret: {{file: {secret}}}'
    path = written(tmp_path, notify(f"{{ops: {{{receiver}}}}}"))
    load(path)
    with pytest.raises(ConfigInvalid) as caught:
        check_file(path)
    assert caught.value.message.startswith("cannot use secret of receiver 'ops': ")
    assert caught.value.hint


def test_a_url_that_is_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text(URL)
    secret.chmod(0o600)
    path = written(tmp_path, notify(f"{{ops: {{kind: ping, url: {{file: {secret}}}}}}}"))
    assert check_file(path).settings == load(path)
