"""A secret named by `{credential: NAME}` is found in a unit, and by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.config import credentials
from holdfast.config.credentials import (
    CREDENTIALS,
    Absent,
    NoCredential,
    credential,
    credential_if_any,
)
from holdfast.config.secret import SecretSource, secret_of
from holdfast.model.errors import ConfigInvalid

ROOT, OTHER = 0, 1234


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose systemd opens what the real one does, if it is asked in the same way."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "systemd-creds"
    program.write_text(
        '#!/bin/sh\n[ "$1 $4" = "decrypt -" ] || exit 9\n'
        'sed -n "s/^sealed ${2#--name=} //p" "$3" | grep . || { echo wrong key >&2; exit 1; }\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: ROOT)
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setattr(credentials, "KEPT", folder)
    return folder


def plain(kept: Path, content: str, *, mode: int = 0o400) -> None:
    (kept / "s3.secret").write_text(content)
    (kept / "s3.secret").chmod(mode)


def test_what_systemd_gave_to_the_unit_comes_first(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "s3").write_text("from systemd")
    plain(kept, "from the file")
    (kept / "s3.cred").write_text("sealed s3 opened")
    assert credential("s3", {CREDENTIALS: str(tmp_path)}) == b"from systemd"
    assert credential("s3", {}) == b"from the file"
    # A container whose systemd cannot mount gives an empty folder.
    assert credential("s3", {CREDENTIALS: "/nowhere"}) == b"from the file"


def test_root_opens_a_sealed_one_by_hand(kept: Path) -> None:
    (kept / "s3.cred").write_text("sealed s3 opened")
    assert credential("s3", {}) == b"opened\n"


def test_others_are_told_that_only_root_can_open_it(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept / "s3.cred").write_text("sealed s3 opened")
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    with pytest.raises(Absent, match="only root can open credential 's3', and no unit"):
        credential("s3", {})
    assert credential_if_any("s3", {}) is None


def test_one_that_another_host_sealed_is_told(kept: Path) -> None:
    (kept / "s3.cred").write_text("sealed other")
    with pytest.raises(NoCredential, match=r"s3.cred': systemd-creds ended .* wrong key") as raised:
        credential("s3", {})
    assert "deploy it again" in raised.value.hint


def test_a_file_that_the_group_of_the_folder_reads_is_accepted_and_no_other_groups(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain(kept, "geheim", mode=0o440)
    if os.getuid() == ROOT:
        os.chown(kept, ROOT, OTHER)
        os.chown(kept / "s3.secret", ROOT, OTHER)
    # As a server that archives WAL, or root: another group is their own.
    monkeypatch.setattr(os, "getegid", lambda: OTHER + 1)
    assert credential("s3", {}) == b"geheim"
    if os.getuid() == ROOT:
        os.chown(kept, ROOT, OTHER + 2)
        with pytest.raises(NoCredential, match="can be read by group 1234"):
            credential("s3", {})


def test_a_file_that_others_can_read_is_refused(kept: Path) -> None:
    plain(kept, "geheim", mode=0o444)
    with pytest.raises(NoCredential, match="accessible to others"):
        credential("s3", {})


@pytest.mark.usefixtures("kept")
def test_a_missing_one_is_told_with_both_remedies() -> None:
    with pytest.raises(ConfigInvalid) as raised:
        secret_of(SecretSource(credential="s3"), "access_key", environment={})
    assert raised.value.message == "cannot use access_key: this host has no credential 's3'"
    assert "backup_runner_secrets" in raised.value.hint
    assert "LoadCredential=s3:PATH" in raised.value.hint
    assert credential_if_any("s3", {}) is None
