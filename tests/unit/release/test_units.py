"""The units of the package are those of the role, for any job."""

from __future__ import annotations

import pytest

from lab.state import PROJECT
from release.source import Source
from release.units import units

SOURCE = Source(folder=PROJECT, version="0.1.0", epoch=0)


@pytest.mark.parametrize("purpose", ["backup", "verify", "drill"])
def test_the_instance_is_the_job_and_its_folders_are_its_own(purpose: str) -> None:
    text = units(SOURCE)[f"holdfast-{purpose}@.service"]
    program = "/usr/lib/holdfast/bin/holdfast --config /etc/holdfast/holdfast.yaml"
    assert f"ExecStart={program} {purpose} %i\n" in text
    # %p would be one folder for the pipes of all jobs.
    assert "RuntimeDirectory=holdfast/%N\n" in text
    assert "ProtectSystem=strict\n" in text
    assert "JOB" not in text.replace("# ", "")


def test_no_unit_names_the_folders_of_the_role() -> None:
    for name, text in units(SOURCE).items():
        assert not {"/opt/holdfast", "/usr/local", "/current/"} & set(text.split("=")), name
        assert "/opt/" not in text
        assert "/current/" not in text
