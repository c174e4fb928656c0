"""Sources of kind mysql: settings of each engine, and refusals with their hints."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.config.sources import MysqlSettings
from holdfast.model.backup import Codec
from tests.support.configs import HEAD, JOB, REPOSITORY, job, refused

MYSQL = '    source: {kind: mysql, engine: tools, dsn: "mysql://u@localhost/shop"}\n'


@pytest.mark.parametrize(
    ("written_", "codec", "level"),
    [
        ("{program: gzip}", Codec.GZIP, 6),
        ("{program: pigz, level: 9, level_cap: 9}", Codec.GZIP, 6),
        ("{program: zstd, level: 2}", Codec.ZSTD, 2),
        ("{program: 7z, level: 9}", Codec.XZ, 6),
        ("{program: pigz, codec: gzip}", Codec.GZIP, 6),
    ],
)
def test_a_program_names_its_codec_and_never_goes_above_level_six(
    tmp_path: Path, written_: str, codec: Codec, level: int
) -> None:
    text = HEAD + MYSQL + REPOSITORY + f"    compression: {written_}\n"
    compression = job(tmp_path, text).compression
    assert (compression.codec, compression.effective_level) == (codec, level)


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (
            HEAD + MYSQL + REPOSITORY + "    compression: {program: pigz, codec: zstd}\n",
            "line 7: jobs.shop.compression.codec: pigz does not write zstd",
            "leave it out, or gzip",
        ),
        (
            HEAD + MYSQL + REPOSITORY + "    compression: {program: bzip2}\n",
            "line 7: jobs.shop.compression.program: 'bzip2' is not one of gzip, pigz, zstd, 7z",
            "did you mean 'gzip'?",
        ),
        (
            JOB + "    compression: {program: pigz}\n",
            "line 4: jobs.shop: 'compression.program' is only for kind mysql with engine tools",
            "leave program out: holdfast compresses itself",
        ),
        (
            HEAD + MYSQL + REPOSITORY + "    checksums: true\n",
            "line 4: jobs.shop: 'checksums: true' is not for engine tools, method logical",
            "leave it out, or use engine native, method logical",
        ),
        (
            HEAD
            + MYSQL.replace("tools", "tools, method: physical")
            + REPOSITORY
            + "    compression: {program: pigz}\n",
            "line 4: jobs.shop: 'compression.program' is only for kind mysql with engine tools",
            "leave program out: holdfast compresses itself",
        ),
        (
            HEAD + MYSQL.replace("tools", "native, backup_as_tables: true") + REPOSITORY,
            "line 5: jobs.shop.source: 'backup_as_tables' has no effect with engine native",
            "write engine: tools",
        ),
        (
            HEAD
            + MYSQL.replace("tools", "tools, method: physical, backup_as_tables: true")
            + REPOSITORY,
            "line 5: jobs.shop.source: 'backup_as_tables' has no effect with method physical",
            "leave it out",
        ),
        (
            HEAD + MYSQL.replace("tools", "tools, exclude_tables: [logs]") + REPOSITORY,
            "line 5: jobs.shop.source: 'exclude_tables' has no effect with engine tools",
            "leave it out, or use native",
        ),
    ],
)
def test_settings_of_the_stock_tools_that_would_do_nothing_are_refused(
    tmp_path: Path, text: str, what: str, hint: str
) -> None:
    assert refused(tmp_path, text) == (what, hint)


def test_a_mysql_dsn_must_name_a_database(tmp_path: Path) -> None:
    source = '    source: {kind: mysql, dsn: "mysql://holdfast@localhost"}\n'
    what, hint = refused(tmp_path, HEAD + source + REPOSITORY)
    assert what == "line 5: jobs.shop.source.dsn: it is not a URL with a database"
    assert hint.startswith("mysql://")


def test_databases_tables_and_policies_of_mysql_are_read(tmp_path: Path) -> None:
    source = (
        '    source: {kind: mysql, dsn: "mysql://u@localhost", databases: [shop, "wiki_*"],\n'
        '             exclude_databases: [wiki_old], tables: ["*"], exclude_tables: ["log_*"],\n'
        "             ddl: block, loose_tables: lock, long_query: 30s, lock_wait: 2m}\n"
    )
    found = job(tmp_path, HEAD + source + REPOSITORY).source
    assert isinstance(found, MysqlSettings)
    assert found.databases == ("shop", "wiki_*")
    assert (found.tables, found.exclude_tables) == (("*",), ("log_*",))
    assert (found.ddl, found.loose_tables) == ("block", "lock")
    assert (found.long_query, found.lock_wait) == (timedelta(seconds=30), timedelta(minutes=2))
    assert (found.lag_limit, found.lock_hold) == (timedelta(minutes=10), timedelta(seconds=10))


def test_a_policy_that_is_not_known_is_refused_with_those_that_are(tmp_path: Path) -> None:
    source = '    source: {kind: mysql, dsn: "mysql://u@localhost/shop", ddl: blok}\n'
    what, hint = refused(tmp_path, HEAD + source + REPOSITORY)
    assert what == "line 5: jobs.shop.source.ddl: 'blok' is not one of block, detect, ignore"
    assert hint == "did you mean 'block'?"
