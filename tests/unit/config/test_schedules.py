"""`holdfast config check`: systemd's opinion of the schedules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.config.load import check_file
from holdfast.model.errors import ConfigInvalid

TEXT = """\
repositories:
  main: {kind: local, path: /var/lib/holdfast}
jobs:
  shop:
    source: {kind: postgres, dsn: "dbname=shop"}
    repository: main
    schedule: "SCHEDULE"
"""

ANSWERS_AS_SYSTEMD = """#!/bin/sh
[ "$1 $2" = "calendar --" ] && [ "$3" = "*-*-* 02:00:00" ]
"""


def written(folder: Path, schedule: str) -> Path:
    path = folder / "holdfast.yaml"
    path.write_text(TEXT.replace("SCHEDULE", schedule))
    return path


@pytest.fixture
def with_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "systemd-analyze"
    program.write_text(ANSWERS_AS_SYSTEMD)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("with_systemd")
def test_a_schedule_that_systemd_understands_passes(tmp_path: Path) -> None:
    checked = check_file(written(tmp_path, "*-*-* 02:00:00"))
    assert checked.notes == ()
    assert list(checked.settings.jobs) == ["shop"]


@pytest.mark.usefixtures("with_systemd")
@pytest.mark.parametrize("section", ["verify", "drill"])
def test_a_schedule_of_a_section_is_checked_too(tmp_path: Path, section: str) -> None:
    path = written(tmp_path, "*-*-* 02:00:00")
    path.write_text(path.read_text() + f"    {section}:\n      schedule: sometimes\n")
    with pytest.raises(ConfigInvalid) as refused:
        check_file(path)
    assert refused.value.message.endswith(
        f"line 9: jobs.shop.{section}.schedule: systemd cannot parse 'sometimes'"
    )


@pytest.mark.usefixtures("with_systemd")
def test_a_schedule_that_systemd_refuses_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        check_file(written(tmp_path, "every night"))
    assert refused.value.message.endswith(
        "line 7: jobs.shop.schedule: systemd cannot parse 'every night'"
    )
    assert "systemd-analyze calendar" in refused.value.hint


@pytest.mark.usefixtures("with_systemd")
def test_a_configuration_is_read_once(tmp_path: Path) -> None:
    """A pipe can be read once (`config check <(template)`), and a file may change."""
    reading, writing = os.pipe()
    os.write(writing, TEXT.replace("SCHEDULE", "every night").encode())
    os.close(writing)
    try:
        with pytest.raises(ConfigInvalid, match=r"line 7: jobs\.shop\.schedule: systemd cannot"):
            check_file(Path(f"/dev/fd/{reading}"))
    finally:
        os.close(reading)


def test_without_systemd_the_check_says_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    checked = check_file(written(tmp_path, "every night"))
    assert checked.notes == ("schedules were not checked: this host has no systemd-analyze",)
