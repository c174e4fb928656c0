from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.backup import Codec
from holdfast.sources.postgres.dump import pg_dump
from holdfast.sources.postgres.dump.pg_dump import Compression
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.tools import Tool


def tool(major: int = 17) -> Tool:
    return Tool(path=Path("/usr/bin/pg_dump"), version=f"{major}.1", major=major)


@pytest.mark.parametrize(
    ("codec", "level", "major", "option"),
    [
        (Codec.ZSTD, 3, 17, "--compress=zstd:3"),
        (Codec.ZSTD, 19, 16, "--compress=zstd:6"),
        (Codec.ZSTD, 3, 15, "--compress=3"),
        (Codec.GZIP, 9, 17, "--compress=6"),
        (Codec.GZIP, 1, 15, "--compress=1"),
        (Codec.NONE, 0, 17, "--compress=0"),
    ],
)
def test_the_level_is_capped_and_zstd_is_taken_where_pg_dump_knows_it(
    codec: Codec, level: int, major: int, option: str
) -> None:
    assert Compression(codec=codec, level=level).option(tool(major)) == option


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        ("custom", ["--format=custom", "--compress=zstd:3"]),
        ("plain", ["--format=plain", "--compress=0"]),
    ],
)
def test_pg_dump_joins_the_snapshot_and_is_told_no_password(form: str, shape: list[str]) -> None:
    login = Login.parse("dbname=shop", password="the-s3cret", application_name="holdfast")
    argv = pg_dump.arguments(
        tool(),
        login,
        form=form,
        snapshot="0003-1",
        compression=Compression(codec=Codec.ZSTD, level=3),
    )
    assert argv[2:4] == shape
    assert "--snapshot=0003-1" in argv
    assert "the-s3cret" not in " ".join(argv)
    assert login.environment()["PGPASSWORD"] == "the-s3cret"
