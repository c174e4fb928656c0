"""Incremental backups are refused where their parents could not be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.pipeline.decrypt import Identities
from tests.unit.config.files import job, refused

(RECIPIENT,) = Identities.generate().recipients
KEYS = 'kind: postgres, dsn: "dbname=shop", engine: tools, method: physical'


def text(*, incremental: str = "6", store: str = "", mirrors: str = "") -> str:
    return f"""\
repositories:
  main: {{kind: local, path: /var/lib/holdfast{store}}}
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


def test_an_encrypted_repository_is_refused_but_not_for_full_backups(tmp_path: Path) -> None:
    sealed = f", encryption: {{recipients: [{RECIPIENT}]}}"
    what, hint = refused(tmp_path, text(store=sealed))
    assert "'incremental' of job 'shop' does not go with an encrypted repository" in what
    assert "leave one of them out" in hint
    assert job(tmp_path, text(store=sealed, incremental="0")).repository == "main"


def test_mirrors_are_refused_as_one_might_lack_a_parent(tmp_path: Path) -> None:
    what, hint = refused(tmp_path, text(mirrors="    mirrors: [other]\n"))
    assert "'incremental' does not go with mirrors" in what
    assert "holdfast copy" in hint
