"""Repositories in the configuration: mistakes are reported, and no secret is in the file."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

import pytest

from holdfast.config.load import load
from holdfast.config.repositories import AzureSettings, GcsSettings, S3Settings, SftpSettings
from holdfast.config.secret import SecretSource, secret_of
from holdfast.config.settings import Settings
from holdfast.model.errors import ConfigInvalid
from holdfast.wiring.repositories import REPOSITORIES, repository

JOBS = """
jobs:
  shop:
    source: {kind: postgres, dsn: "dbname=shop"}
    repository: main
"""
SFTP = "kind: sftp, host: h, user: u, path: /b, host_keys: [ssh-ed25519 AAAA]"
ENVIRONMENT = "{environment: SECRET}"
KINDS = [get_type_hints(each)["kind"].__args__[0] for each in REPOSITORIES]


def loaded(folder: Path, text: str) -> Settings:
    path = folder / "holdfast.yaml"
    path.write_text(f"repositories:\n  main: {{{text}}}\n{JOBS}")
    return load(path)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("kind: s3, bucket: b", S3Settings),
        ("kind: s3, bucket: b, endpoint: 'https://s3.example', prefix: db1/x", S3Settings),
        (
            f"kind: s3, bucket: b, access_key: {ENVIRONMENT}, secret_key: {{credential: s3}}",
            S3Settings,
        ),
        ("kind: gcs, bucket: b, service_account: {credential: gcs}", GcsSettings),
        ("kind: azure, account: a, container: c, sas_token: {credential: sas}", AzureSettings),
        ("kind: gcs, bucket: b, endpoint: 'https://g.example', ca_file: /etc/ca.pem", GcsSettings),
        ("kind: azure, account: a, container: c, endpoint: 'http://[::1]:1/a'", AzureSettings),
        (SFTP + ", private_key: {credential: ssh}, upload_concurrency: 4", SftpSettings),
    ],
)
def test_each_kind_of_store_is_told_by_its_kind(tmp_path: Path, text: str, kind: type) -> None:
    assert isinstance(loaded(tmp_path, text).repositories["main"], kind)
    assert kind in REPOSITORIES


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kind: s4, bucket: b", f"is not one of {', '.join(KINDS)}"),
        ("kind: s3, bucket: b, bukket: c", "bukket: unknown key"),
        ("kind: s3, bucket: b, endpoint: 'http://s3.example'", "sends backups unencrypted"),
        (
            "kind: s3, bucket: b, endpoint: 'https://k:s@s3.example'",
            "an endpoint must not hold a login",
        ),
        ("kind: gcs, bucket: b, endpoint: 'http://gcs.example'", "sends backups unencrypted"),
        (
            "kind: azure, account: a, container: c, endpoint: 'https://a?sig=x'",
            "must not hold a login",
        ),
        ("kind: s3, bucket: b, endpoint: 'https://s3.example:99999'", "is not an address"),
        ("kind: s3, bucket: b, endpoint: 'https://[s3.example'", "is not an address"),
        ("kind: s3, bucket: b, prefix: /abs", "is not a plain prefix"),
        (f"kind: s3, bucket: b, access_key: {ENVIRONMENT}", "belong together"),
        ("kind: s3, bucket: b, part_size: 1MiB", "part_size: must be at least 5242880"),
        ("kind: s3, bucket: b, upload_concurrency: 0", "must be at least 1"),
        ("kind: s3, bucket: b, access_key: AKIA", "access_key"),
        (SFTP, "exactly one login is needed"),
        (
            "kind: sftp, host: h, user: u, path: /b, password: {credential: p}",
            "named in exactly one place",
        ),
        (
            SFTP + ", password: {credential: p, environment: X}",
            "a secret must be in exactly one place",
        ),
        (SFTP + ", password: {file: /nowhere/p}", "cannot read '/nowhere/p'"),
    ],
)
def test_each_mistake_is_told(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigInvalid) as raised:
        loaded(tmp_path, text)
    assert problem in f"{raised.value.message} {raised.value.hint}"


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret words")
    key.chmod(0o644)
    with pytest.raises(ConfigInvalid, match="accessible to others") as raised:
        loaded(tmp_path, f"{SFTP}, private_key: {{file: {key}}}")
    assert "chmod 0640" in raised.value.hint


def test_a_secret_comes_whole_from_wherever_it_is(tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("line 1\nline 2\n")
    (tmp_path / "ssh").chmod(0o400)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path), "SECRET": "word"}
    found = [
        secret_of(SecretSource(credential="ssh"), "private_key", environment=environment),
        secret_of(SecretSource(file=tmp_path / "ssh"), "private_key", environment={}),
        secret_of(SecretSource(environment="SECRET"), "password", environment=environment),
        secret_of(None, "password"),
    ]
    assert [each and each.reveal() for each in found] == [
        "line 1\nline 2",
        "line 1\nline 2",
        "word",
        None,
    ]
    assert "line" not in repr(found)


@pytest.mark.parametrize(
    ("source", "environment", "said"),
    [
        (SecretSource(environment="SECRET"), {}, "environment variable SECRET is empty or not set"),
        (SecretSource(credential="s3"), {}, "this host has no credential 's3'"),
    ],
)
def test_a_secret_that_is_not_there_is_told_with_its_remedy(
    source: SecretSource, environment: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigInvalid, match=f"cannot use secret_key: .*{said}") as raised:
        secret_of(source, "secret_key", environment=environment)
    assert raised.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        S3Settings(kind="s3", bucket="b"),
        AzureSettings(kind="azure", account="a", container="c"),
        SftpSettings(
            kind="sftp",
            host="h",
            user="u",
            path=Path("/b"),
            host_keys=("ssh-ed25519 AAAA",),
            password=SecretSource(environment="HOME"),
        ),
    ],
    ids=lambda settings: settings.kind,
)
def test_building_a_store_connects_to_nothing(
    settings: S3Settings | AzureSettings | SftpSettings,
) -> None:
    # An unreachable store must not block `holdfast status` or another job.
    assert repository(settings)


def _bucket(ca_file: Path) -> S3Settings:
    return S3Settings(kind="s3", bucket="backups", ca_file=ca_file)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"hello", b"\x30\x82\x01", b"-----BEGIN CERTIFICATE-----\nAAAA\n"],
    ids=["missing", "empty", "text", "DER", "half"],
)
def test_a_ca_file_without_a_certificate_is_a_mistake_in_the_configuration(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigInvalid, match=f"ca_file '{path}'"):
        _bucket(path).authorities()


def test_a_folder_is_no_ca_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="Is a directory"):
        _bucket(tmp_path).authorities()
