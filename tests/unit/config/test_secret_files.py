"""Every file that the configuration names as a secret is known to who keeps others from it."""

from __future__ import annotations

from pathlib import Path

from holdfast.config.load import load
from holdfast.config.secret_files import secret_files
from tests.support.configs import written

TEXT = """\
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
    settings = load(written(tmp_path, TEXT.format(tmp_path)))
    assert {each.name for each in secret_files(settings)} == names
