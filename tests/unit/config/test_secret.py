"""Passwords that stay out of sight."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from holdfast.config.load import load
from holdfast.config.private_files import NotPrivate, require_private
from holdfast.config.secret import Secret, read_secret, secret_files
from holdfast.model.errors import ConfigInvalid
from tests.support.configs import HEAD, JOB, REPOSITORY, written


def test_a_secret_shows_as_stars_wherever_it_is_printed() -> None:
    secret = Secret("hunter2")
    assert {repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{[secret]}"} == {
        "***",
        "[***]",
    }
    assert secret.reveal() == "hunter2"


STORE = "repositories: {x: {kind: s3, bucket: b, %s}}\njobs: {}\n"
LOCAL = "repositories: {x: {kind: local, path: /b, %s}}\njobs: {}\n"
MISPLACED = {
    "a key": STORE % "access_key: hunter2",
    "a list": STORE % "access_key: {environment: [hunter2]}",
    "a login": STORE % "endpoint: 'ftp://user:hunter2@host'",
    "an identity": LOCAL % "encryption: {recipients: [' AGE-SECRET-KEY-1HUNTER2']}",
    "no list": LOCAL % "encryption: {recipients: AGE-SECRET-KEY-1HUNTER2}",
    "a signing key": LOCAL % "authentication: {public_keys: [hunter2]}",
    "no signing key": LOCAL % "authentication: {public_keys: [hunter2ü]}",
    "a dsn": f"{HEAD}    source: {{kind: postgres, dsn: [hunter2]}}\n{REPOSITORY}",
    "a password": f"{HEAD}    source: {{kind: postgres, dsn: d, password: hunter2}}\n{REPOSITORY}",
    "an address": f"{JOB}    notify: {{x: 'https://host/hunter2'}}\n",
    "addresses": f"{JOB}    notify: {{x: {{kind: ping, url: ['https://host/hunter2']}}}}\n",
    "a header": f"{JOB}    notify: {{x: {{kind: ping, url: {{file: {{a: hunter2}}}}}}}}\n",
}


@pytest.mark.parametrize("text", MISPLACED.values(), ids=MISPLACED)
def test_a_misplaced_secret_is_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigInvalid) as error:
        load(written(tmp_path, text))
    assert "line " in error.value.message
    told = "".join(traceback.format_exception(error.value)) + error.value.hint
    assert "hunter2" not in told.lower()


def test_only_the_first_line_is_the_password(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hunter 2 \n# a comment\n")
    path.chmod(0o600)
    assert read_secret(path).reveal() == "hunter 2 "


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o660, 0o644, 0o610])
def test_a_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2")
    path.chmod(mode)
    with pytest.raises(NotPrivate, match=f"mode {mode:04o}"):
        require_private(path)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440])
def test_a_file_for_its_owner_and_its_group_is_accepted(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2")
    path.chmod(mode)
    require_private(path)


def test_a_folder_or_a_pipe_is_no_password_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(NotPrivate, match="not a regular file"):
            require_private(path)


def test_a_file_that_was_opened_to_others_after_the_load_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2")
    path.chmod(0o644)
    with pytest.raises(ConfigInvalid, match="cannot use password file") as refused:
        read_secret(path)
    assert "chmod 0640" in refused.value.hint


ALL_SECRETS = """\
state_directory: /var/lib/x
notify:
  hook: {{kind: webhook, url: {{file: {0}/url}}, secret: {{file: {0}/hook}}}}
repositories:
  main: {{kind: local, path: /b, authentication: {{key_file: {0}/signing}}}}
  ssh:
    kind: sftp
    host: h
    user: u
    path: /b
    host_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl]
    private_key: {{file: {0}/ssh}}
    authentication: {{key: {{file: {0}/key}}}}
jobs:
  shop:
    source: {{kind: postgres, dsn: dbname=shop, password_file: {0}/password}}
    repository: main
  crm:
    source: {{kind: postgres, dsn: dbname=crm, password: {{file: {0}/other}}}}
    repository: ssh
"""


def test_the_files_of_all_secrets_are_found(tmp_path: Path) -> None:
    names = {"url", "hook", "signing", "ssh", "key", "password", "other"}
    for name in names:
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    settings = load(written(tmp_path, ALL_SECRETS.format(tmp_path)))
    assert {each.name for each in secret_files(settings)} == names
