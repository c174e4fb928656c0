"""The configuration file: accepted settings, and the explanation of each mistake."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.config.load import load
from holdfast.config.repositories import LocalSettings
from holdfast.config.settings import Settings
from holdfast.config.sources import MysqlSettings, PostgresSettings
from holdfast.model.backup import Codec
from holdfast.model.errors import ConfigInvalid
from tests.support.configs import ALL_KEYS, HEAD, JOB, REPOSITORY, SOURCE, job, refused, written

WHOLE = """\
state_directory: /srv/state
repositories:
  main: {kind: local, path: /var/lib/holdfast}
jobs:
  shop:
    source: {kind: postgres, engine: native, dsn: "host=/run/postgresql dbname=shop user=holdfast"}
    repository: main
    compression: {codec: gzip, level: 4}
    max_concurrent_processes: 6
    schedule: "*-*-* 02:00:00"
    retention: {daily: 7, weekly: 4, monthly: 6}
    overlap: wait
    wait_at_most: 1h30m
    timeout: 45m
  stock:
    source: {kind: mysql, dsn: "mysql://holdfast@localhost/stock?unix_socket=/run/mysqld/mysqld.sock"}
    repository: main
"""


def test_the_whole_example_becomes_frozen_typed_values(tmp_path: Path) -> None:
    settings = load(written(tmp_path, WHOLE))
    shop = settings.jobs["shop"]
    assert settings.state_directory == Path("/srv/state")
    assert settings.repositories["main"] == LocalSettings(
        kind="local", path=Path("/var/lib/holdfast")
    )
    assert isinstance(shop.source, PostgresSettings)
    assert (shop.compression.codec, shop.compression.effective_level) == (Codec.GZIP, 4)
    assert shop.max_concurrent_processes == 6
    assert (shop.retention.daily, shop.retention.yearly) == (7, 0)
    assert (shop.overlap, shop.wait_at_most) == ("wait", timedelta(minutes=90))
    assert shop.timeout == timedelta(minutes=45)
    with pytest.raises(AttributeError, match="frozen"):
        shop.__setattr__("timeout", timedelta(0))
    with pytest.raises(AttributeError, match="frozen"):
        shop.__delattr__("timeout")


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy],
)
def test_settings_can_be_copied(tmp_path: Path, copied: Callable[[Settings], Settings]) -> None:
    settings = load(written(tmp_path, WHOLE))
    found = copied(settings)
    assert found == settings
    assert found.jobs["shop"].written == settings.jobs["shop"].written


def test_a_job_needs_only_a_source_and_a_repository(tmp_path: Path) -> None:
    stock = load(written(tmp_path, WHOLE)).jobs["stock"]
    assert isinstance(stock.source, MysqlSettings)
    assert stock.source.engine == "native"
    assert (stock.compression.codec, stock.compression.effective_level) == (Codec.ZSTD, 1)
    assert stock.max_concurrent_processes is None
    assert stock.schedule is None
    assert (stock.overlap, stock.timeout) == ("skip", timedelta(hours=2))


def test_keeping_has_defaults_that_can_be_changed(tmp_path: Path) -> None:
    usual = load(written(tmp_path, JOB))
    store, shop = usual.repositories["main"], usual.jobs["shop"]
    assert (store.lease_time, store.repository_slots) == (timedelta(seconds=90), None)
    assert (shop.overlap_alarm, shop.blob_grace) == (3, timedelta(days=1))
    assert shop.retention.within is None
    text = JOB.replace("kind: local", "kind: local, lease_time: 4s, repository_slots: 2")
    changed = load(
        written(
            tmp_path,
            f"{text}    overlap_alarm: 1\n    blob_grace: 2h\n    retention: {{within: 14d}}\n",
        )
    )
    store, shop = changed.repositories["main"], changed.jobs["shop"]
    assert (store.lease_time, store.repository_slots) == (timedelta(seconds=4), 2)
    assert (shop.overlap_alarm, shop.blob_grace) == (1, timedelta(hours=2))
    assert shop.retention.within == timedelta(days=14)


def test_a_lease_that_a_slow_store_would_lose_is_refused(tmp_path: Path) -> None:
    what, hint = refused(tmp_path, JOB.replace("kind: local", "kind: local, lease_time: 3s"))
    assert what.endswith("3s is too short for a lease_time")
    assert "4s or more" in hint


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (
            HEAD + SOURCE.replace("source", "sorce") + REPOSITORY,
            "line 5: jobs.shop.sorce: unknown key",
            "did you mean 'source'?",
        ),
        (
            JOB + "    zzz: 1\n",
            "line 7: jobs.shop.zzz: unknown key",
            ALL_KEYS,
        ),
        (
            HEAD + SOURCE.replace("dsn", "dns") + REPOSITORY,
            "line 5: jobs.shop.source.dns: unknown key",
            "did you mean 'dsn'?",
        ),
        (HEAD + SOURCE, "line 4: jobs.shop.repository: missing", "add this key"),
        (
            JOB + "    mirrors: other\n",
            "line 7: jobs.shop.mirrors: must be a list",
            "write [ONE, OTHER]",
        ),
        (
            JOB + "    resumable: 'yes'\n",
            "line 7: jobs.shop.resumable: must be true or false, not 'yes'",
            "",
        ),
        (
            HEAD + SOURCE + "    repository: mian\n",
            "line 6: jobs.shop.repository: there is no repository 'mian'",
            "did you mean 'main'?",
        ),
        (
            HEAD + SOURCE.replace("postgres", "postgress") + REPOSITORY,
            "line 5: jobs.shop.source.kind: 'postgress' is not one of postgres, mysql",
            "did you mean 'postgres'?",
        ),
        (
            HEAD + '    source: {dsn: "dbname=shop"}\n' + REPOSITORY,
            "line 5: jobs.shop.source.kind: missing",
            "add this key",
        ),
        (
            JOB + "    compression: {codec: zst}\n",
            "line 7: jobs.shop.compression.codec: 'zst' is not one of zstd, gzip, xz, none",
            "did you mean 'zstd'?",
        ),
        (
            JOB + "    compression: {codec: gzip, level: 12}\n",
            "line 7: jobs.shop.compression.level: 12 is not a level of this codec",
            "from 1 to 9",
        ),
        (
            JOB + "    compression: fast\n",
            "line 7: jobs.shop.compression: must hold keys and values",
            "indent its keys below it",
        ),
        (
            JOB + "    max_concurrent_processes: many\n",
            "line 7: jobs.shop.max_concurrent_processes: 'many' is not a number of processes",
            "write auto, or a whole number from 1 to 1000",
        ),
        (
            JOB + "    timeout: 120\n",
            "line 7: jobs.shop.timeout: 120 is not a duration",
            "write a number and a unit: 45s, 90m, 2h, 1d",
        ),
        (
            JOB + "    retention: {daily: -1}\n",
            "line 7: jobs.shop.retention.daily: must be at least 0",
            "",
        ),
        (
            JOB + "    retention: {daily: yes}\n",
            "line 7: jobs.shop.retention.daily: must be a whole number, not true",
            "",
        ),
        (
            JOB + "    schedule: 12:00\n",
            "line 7: jobs.shop.schedule: must be text, not 720",
            "put it in quotes",
        ),
        (
            JOB + REPOSITORY,
            "line 7: jobs.shop.repository: written twice: on line 6 and here",
            "keep one of them",
        ),
        (
            JOB.replace("  shop:", "  Shop:"),
            "line 4: jobs.Shop: 'Shop' is not a name",
            "a name has a-z, 0-9, - and _, begins with a letter or digit, 63 at most",
        ),
        (
            "state_directory: state\n" + JOB,
            "line 1: state_directory: 'state' is not an absolute path",
            "begin it with /",
        ),
        ("", "the file is empty", ""),
        ("- a\n- b\n", "line 1: must hold keys and values", "indent its keys below it"),
        (
            "jobs:\n\tshop: 1\n",
            "line 2: it is not YAML: found character '\\t' that cannot start any token",
            "YAML indents with spaces, never tabs; a text with ': ' or '#' in it needs quotes",
        ),
    ],
)
def test_each_mistake_is_named_with_line_key_and_remedy(
    tmp_path: Path, text: str, what: str, hint: str
) -> None:
    assert refused(tmp_path, text) == (what, hint)


@pytest.mark.parametrize(
    "source",
    [
        '{kind: postgres, dsn: "dbname=shop password=hunter2"}',
        '{kind: postgres, dsn: "postgresql://holdfast:hunter2@db/shop"}',
        '{kind: postgres, dsn: "postgresql://holdfast@db/shop?password=hunter2"}',
        '{kind: mysql, dsn: "mysql://holdfast:hunter2@localhost/shop"}',
        '{kind: mysql, dsn: "mysql://holdfast@localhost/shop?passwd=hunter2"}',
    ],
)
def test_a_password_in_a_dsn_is_refused_and_not_repeated(tmp_path: Path, source: str) -> None:
    what, hint = refused(tmp_path, f"{HEAD}    source: {source}\n{REPOSITORY}")
    assert what.startswith("line 5: jobs.shop.source.dsn: a dsn must not hold a password")
    assert "password_file" in hint
    assert "hunter2" not in what + hint


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ("checkpoint: fast", "'checkpoint' has no effect with engine native, method logical"),
        ("engine: tools, transport: wire", "'transport' has no effect with engine tools"),
        ("method: physical, databases: all", "'databases' has no effect with engine native"),
        ("method: physical, transport: fifo", "'transport' has no effect with engine native"),
        (
            "method: physical, incremental: 6",
            "'incremental' has no effect with engine native, method physical",
        ),
        (
            "engine: tools, incremental: 6",
            "'incremental' has no effect with engine tools, method logical",
        ),
        (
            "engine: tools, method: physical, session: daemon",
            "'session' has no effect with engine tools, method physical",
        ),
    ],
)
def test_a_key_that_the_engine_does_not_know_is_refused(
    tmp_path: Path, keys: str, what: str
) -> None:
    source = f'    source: {{kind: postgres, dsn: "dbname=shop", {keys}}}\n'
    assert what in refused(tmp_path, HEAD + source + REPOSITORY)[0]


def test_sessions_have_limits_that_can_be_set(tmp_path: Path) -> None:
    text = "sessions: {group: backup, per_server: 9, longest: 12h}\n" + JOB
    sessions = load(written(tmp_path, text)).sessions
    assert (sessions.group, sessions.admin_group, sessions.per_server) == ("backup", None, 9)
    assert sessions.longest == timedelta(hours=12)


def test_several_mistakes_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    what, hint = refused(tmp_path, JOB + "    timeout: soon\n    overlap: skipp\n")
    assert what == (
        "2 problems\n"
        "  line 7: jobs.shop.timeout: 'soon' is not a duration "
        "(write a number and a unit: 45s, 90m, 2h, 1d)\n"
        "  line 8: jobs.shop.overlap: 'skipp' is not one of skip, wait (did you mean 'skip'?)"
    )
    assert hint == f"correct them all, then run: holdfast config check {tmp_path}/holdfast.yaml"


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    secret.chmod(0o644)
    line = SOURCE.replace("}", f", password_file: {secret}}}")
    what, hint = refused(tmp_path, HEAD + line + REPOSITORY)
    assert what == (
        f"line 5: jobs.shop.source.password_file: '{secret}' is accessible to others (mode 0644)"
    )
    assert hint == f"chown root:holdfast {secret} && chmod 0640 {secret}"
    secret.chmod(0o640)
    assert job(tmp_path, HEAD + line + REPOSITORY).source.password_file == secret


def test_a_missing_file_is_said_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as error:
        load(tmp_path / "nowhere.yaml")
    assert error.value.message == (
        f"cannot read configuration '{tmp_path}/nowhere.yaml': No such file or directory"
    )
    assert error.value.hint == "name another file with --config FILE"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("timeout: 99999999999999d", "too long for a duration"),
        ("timeout: 40000d", "too long for a duration"),
        (f"max_rate: {'9' * 400}GB", "too large for a size"),
        (f"max_rate: {'9' * 40}", "too large for a size"),
    ],
    ids=["endless", "long", "infinite", "large"],
)
def test_numbers_that_nothing_can_hold_are_refused_by_name(
    tmp_path: Path, line: str, why: str
) -> None:
    path = tmp_path / "holdfast.yaml"
    path.write_text(
        "repositories: {main: {kind: local, path: /b}}\n"
        f"jobs: {{shop: {{source: {{kind: postgres, dsn: dbname=s}}, repository: main, {line}}}}}\n"
    )
    with pytest.raises(ConfigInvalid, match=why):
        load(path)


def test_a_program_or_topic_that_is_a_list_is_a_mistake_in_the_file(tmp_path: Path) -> None:
    what, _ = refused(tmp_path, f"{JOB}    compression: {{program: [pigz]}}\n")
    assert what.startswith("line 7: jobs.shop.compression.program: a list is not one of ")
    receiver = "{kind: ping, url: 'https://h', on: [[failure], start]}"
    what, hint = refused(tmp_path, f"notify: {{ops: {receiver}}}\n{JOB}")
    assert what == "line 1: notify.ops.on: a list is not a topic"
    assert hint == "write the topics as words"


def test_a_name_that_is_no_name_does_not_hide_the_mistakes_below_it(tmp_path: Path) -> None:
    what, _ = refused(tmp_path, f"{JOB}    attempts: 99\n".replace("  shop:", "  The Shop:"))
    assert "line 4: jobs.The Shop: 'The Shop' is not a name" in what
    assert "line 7: jobs.The Shop.attempts: must be at most 20" in what


@pytest.mark.parametrize(("load_average", "most"), [('"8"', 8.0), ('"2.5"', 2.5), ("4", 4.0)])
def test_a_load_may_be_written_in_quotes_as_templates_do(
    tmp_path: Path, load_average: str, most: float
) -> None:
    assert job(tmp_path, f"{JOB}    pause_above_load: {load_average}\n").pause_above_load == most


@pytest.mark.parametrize("load_average", ["true", '"0"', '"-1"', "much", "[1]", '"8 "', ".nan"])
def test_what_is_no_load_is_refused(tmp_path: Path, load_average: str) -> None:
    what, _ = refused(tmp_path, f"{JOB}    pause_above_load: {load_average}\n")
    assert what.startswith("line 7: jobs.shop.pause_above_load: ")


LIMITED = """\
    stall_timeout: 10m
    memory_limit_mb: 150
    max_rate: 20MB
    pause_above_load: 8
    pause_above_lag: 30s
    attempts: 5
    resumable: true
    compression: {codec: zstd, level: 15}
"""


def test_databases_sizes_and_limits_are_read(tmp_path: Path) -> None:
    source = (
        '    source: {kind: postgres, dsn: "host=/run/postgresql", databases: [shop, "wiki_*"],\n'
        "             exclude_databases: [wiki_old], chunk_size: 64MiB, blobs: external}\n"
    )
    found = job(tmp_path, HEAD + source + REPOSITORY + LIMITED)
    assert isinstance(found.source, PostgresSettings)
    assert found.source.databases == ("shop", "wiki_*")
    assert found.source.exclude_databases == ("wiki_old",)
    assert (found.source.chunk_size, found.source.blob_size) == (64 << 20, 1 << 20)
    assert (found.max_rate, found.pause_above_load, found.attempts) == (20_000_000, 8.0, 5)
    assert found.stall_timeout == timedelta(minutes=10)
    assert (found.compression.asked_level, found.compression.effective_level) == (15, 9)


def test_all_databases_of_a_server_are_one_word(tmp_path: Path) -> None:
    source = '    source: {kind: postgres, dsn: "host=/run/postgresql", databases: all}\n'
    found = job(tmp_path, HEAD + source + REPOSITORY)
    assert isinstance(found.source, PostgresSettings)
    assert found.source.databases == "all"


def test_what_the_tools_cannot_do_is_refused_and_not_left_undone(tmp_path: Path) -> None:
    source = '    source: {kind: postgres, engine: tools, dsn: "dbname=a", blobs: external}\n'
    what, _ = refused(tmp_path, HEAD + source + REPOSITORY)
    assert "'blobs' has no effect with engine tools" in what


@pytest.mark.parametrize("size", ["0", "-1", "10 apples", "true", "[]", "1.5.2MB"])
def test_what_is_no_size_is_refused(tmp_path: Path, size: str) -> None:
    what, _ = refused(tmp_path, JOB + f"    max_rate: {size}\n")
    assert "max_rate" in what
