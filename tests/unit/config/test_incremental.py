"""The incremental backups that a configuration may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.configs import job, refused

KEYS = 'kind: postgres, dsn: "dbname=shop", engine: tools, method: physical'


def text(*, incremental: str = "6", mirrors: str = "") -> str:
    return f"""\
repositories:
  main: {{kind: local, path: /var/lib/holdfast}}
  other: {{kind: local, path: /srv/other}}
jobs:
  shop:
    source: {{{KEYS}, incremental: {incremental}}}
    repository: main
{mirrors}"""


def test_how_many_follow_each_full_backup_is_a_number(tmp_path: Path) -> None:
    source = job(tmp_path, text()).source
    assert source.kind == "postgres"
    assert source.incremental == 6


@pytest.mark.parametrize("number", ["-1", "101", "true"])
def test_a_number_that_makes_no_sense_is_refused(tmp_path: Path, number: str) -> None:
    assert "incremental" in refused(tmp_path, text(incremental=number))[0]


def test_mirrors_are_refused_as_one_might_lack_a_parent(tmp_path: Path) -> None:
    what, hint = refused(tmp_path, text(mirrors="    mirrors: [other]\n"))
    assert "'incremental' cannot be used with mirrors" in what
    assert "holdfast copy" in hint
