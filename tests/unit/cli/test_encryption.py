"""Encrypted and signed backups on the command line: every use, and every refusal."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from holdfast.catalog.manifest import decode, encode
from holdfast.model.fingerprints import fingerprint_of
from tests.support.command_line import Answer, CommandLine

MANUAL = Path(__file__).resolve().parents[3] / "docs/encryption.md"
TARGET = ("--to", "fake://target")


@pytest.fixture
def sealed(cli: CommandLine) -> CommandLine:
    """A command line whose repository is encrypted and signed; the identity is in `identity`."""
    recipient = made(cli, "identity")
    made(cli, "signing")
    configure(cli, f"encryption: {{recipients: [{recipient}]}}", signing="signing")
    return cli


def made(cli: CommandLine, kind: str, name: str = "") -> str:
    answer = cli.bare("keys", kind, str(cli.folder / (name or kind)))
    assert answer.exit_code == 0, answer.stderr
    return answer.stdout.strip()


def configure(cli: CommandLine, *blocks: str, signing: str = "") -> None:
    keys = [*blocks, f"path: {cli.repository}", "kind: local"]
    if signing:
        keys.append(f"authentication: {{key_file: {cli.folder / signing}}}")
    text = cli.config.read_text()
    before, after = text.partition("  main:")[0], text.partition("\njobs:")[2]
    cli.config.write_text(f"{before}  main: {{{', '.join(keys)}}}\njobs:{after}")


def identity(cli: CommandLine, name: str = "identity") -> tuple[str, str]:
    return "--identity", str(cli.folder / name)


def restored(cli: CommandLine, *arguments: str) -> Answer:
    cli.target.tables.clear()
    return cli.holdfast("restore", "shop/latest", *TARGET, *arguments)


def test_the_whole_loop(sealed: CommandLine) -> None:
    assert sealed.holdfast("check").exit_code == 0
    assert "encryption   age, for age1" in sealed.holdfast("plan", "shop").stdout
    assert sealed.holdfast("backup", "shop").exit_code == 0
    (listed,) = sealed.holdfast("list", "--json").document["backups"]
    assert (listed["encryption"], len(listed["recipients"])) == ("age", 1)
    assert "encryption   age, for age1" in sealed.holdfast("show", "shop/latest").stdout
    verified = sealed.holdfast("verify", "shop/latest", *identity(sealed))
    assert (verified.exit_code, "only their stored bytes" in verified.stdout) == (0, False)
    assert restored(sealed, *identity(sealed)).exit_code == 0
    assert sealed.target.tables["public.orders"] == b"1,ann\n2,bob\n"


def test_a_restore_says_in_one_line_where_nobody_signs(
    cli: CommandLine, sealed: CommandLine
) -> None:
    sealed.holdfast("backup", "shop")
    believed = restored(sealed, *identity(sealed), "--json")
    assert believed.document["signed"] is True
    assert "not_signed" not in believed.stderr
    recipient = made(cli, "identity", "second")
    configure(cli, f"encryption: {{recipients: [{recipient}]}}")
    told = restored(cli, *identity(cli), "--json")
    assert told.document["signed"] is False
    (line,) = (line for line in told.stderr.splitlines() if "not_signed" in line)
    assert "anybody who can write to it controls what this restore runs" in line


def test_verify_without_an_identity_says_what_it_did_not_look_at(sealed: CommandLine) -> None:
    sealed.holdfast("backup", "shop")
    answer = sealed.holdfast("verify", "shop/latest")
    assert answer.exit_code == 0
    assert "2 of them are encrypted, and only their stored bytes were compared" in answer.stdout
    document = sealed.holdfast("verify", "shop/latest", "--json").document
    assert (document["verified"], document["unopened"]) == (True, 2)


def test_stored_bytes_that_were_compared_are_not_listed_as_verified(sealed: CommandLine) -> None:
    sealed.holdfast("backup", "shop")
    sealed.holdfast("verify", "shop/latest")
    assert " ago, unopened " in sealed.holdfast("list").stdout
    assert " ago, unopened (by this host)" in sealed.holdfast("show", "shop/latest").stdout
    sealed.holdfast("verify", "shop/latest", *identity(sealed))
    assert "unopened" not in sealed.holdfast("list").stdout


def test_a_restore_without_an_identity_says_where_to_name_one(sealed: CommandLine) -> None:
    sealed.holdfast("backup", "shop")
    answer = restored(sealed)
    assert answer.exit_code == 15
    assert "it is encrypted, and no identity is given" in answer.stderr
    assert "--identity FILE, in HOLDFAST_IDENTITY_FILE, or as the systemd" in answer.stderr
    assert sealed.target.requests == []


def test_the_variable_and_the_credential_name_an_identity_too(
    sealed: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed.holdfast("backup", "shop")
    credentials = sealed.folder / "credentials"
    credentials.mkdir()
    shutil.copy(sealed.folder / "identity", credentials / "holdfast-identity")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert restored(sealed).exit_code == 0
    made(sealed, "identity", "other")
    monkeypatch.setenv("HOLDFAST_IDENTITY_FILE", str(sealed.folder / "other"))
    assert restored(sealed).exit_code == 15
    assert restored(sealed, *identity(sealed)).exit_code == 0


def test_a_wrong_identity_is_refused(sealed: CommandLine) -> None:
    sealed.holdfast("backup", "shop")
    other = made(sealed, "identity", "other")
    answer = restored(sealed, *identity(sealed, "other"))
    assert answer.exit_code == 15
    assert f"whose recipient is {other}" in answer.stderr


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660])
def test_an_identity_that_others_can_read_is_refused(sealed: CommandLine, mode: int) -> None:
    sealed.holdfast("backup", "shop")
    (sealed.folder / "identity").chmod(mode)
    for command in (("verify",), ("restore", *TARGET)):
        answer = sealed.holdfast(command[0], "shop/latest", *command[1:], *identity(sealed))
        assert answer.exit_code == 10
        assert f"is accessible to others (mode {mode:04o})" in answer.stderr
        assert "chmod 0600" in answer.stderr


def test_an_identity_on_the_command_line_itself_is_refused_and_not_repeated(
    sealed: CommandLine,
) -> None:
    sealed.holdfast("backup", "shop")
    secret = (sealed.folder / "identity").read_text().splitlines()[-1]
    for answer in (restored(sealed, "--identity", secret), sealed.bare("keys", "public", secret)):
        assert answer.exit_code == 10
        assert "cannot use an identity from the command line" in answer.stderr
        assert secret not in answer.stdout + answer.stderr


@pytest.mark.parametrize("content", ["", "# nothing\n", "AGE-SECRET-KEY-1BROKEN\n"])
def test_a_file_that_is_no_identity_is_refused_without_being_shown(
    sealed: CommandLine, content: str
) -> None:
    sealed.holdfast("backup", "shop")
    path = sealed.folder / "broken"
    path.write_text(content)
    path.chmod(0o600)
    answer = restored(sealed, *identity(sealed, "broken"))
    assert answer.exit_code == 10
    assert "cannot use identity file" in answer.stderr
    assert "BROKEN" not in answer.stderr


def test_keys_are_made_private_and_never_over_others(cli: CommandLine) -> None:
    for kind in ("identity", "signing"):
        public = made(cli, kind)
        path = cli.folder / kind
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert cli.bare("keys", "public", str(path)).stdout.strip() == public
        before = path.read_bytes()
        again = cli.bare("keys", kind, str(path))
        assert (again.exit_code, "File exists" in again.stderr) == (10, True)
        assert path.read_bytes() == before
    document = cli.bare("keys", "public", str(cli.folder / "signing"), "--json").document
    assert document["public_key"].startswith("ed25519:")


@pytest.mark.stock("age-keygen")
def test_age_keygen_agrees_about_the_recipient_of_an_identity_that_we_made(
    cli: CommandLine,
) -> None:
    recipient = made(cli, "identity")
    told = subprocess.run(
        ["age-keygen", "-y", str(cli.folder / "identity")], capture_output=True, check=True
    )
    assert told.stdout.decode().strip() == recipient


@pytest.mark.stock("age", "zstd")
def test_the_stock_tools_alone_read_a_part(sealed: CommandLine) -> None:
    sealed.holdfast("backup", "shop")
    part = sealed.stored("orders.copy.zst.age")
    read = subprocess.run(
        ["sh", "-c", 'age -d -i "$1" "$2" | zstd -dc', "sh", sealed.folder / "identity", part],
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert read.stdout == b"1,ann\n2,bob\n"


@pytest.mark.stock("age", "jq", "python3", "zstd")
@pytest.mark.parametrize("kind", ["values", "large_objects"])
def test_the_way_of_the_manual_to_a_long_value_leads_there(sealed: CommandLine, kind: str) -> None:
    value = b"a scanned contract" * 1000
    setattr(sealed.source, kind, {value})
    fingerprint = fingerprint_of(value)
    if kind == "values":
        fingerprint = sha256(value).hexdigest()
    backup_id = sealed.holdfast("backup", "shop", "--json").document["backup"]
    blocks = MANUAL.read_text().split("```sh\n")
    (recipe,) = [block.partition("```")[0] for block in blocks if "hmac" in block]
    read = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", recipe],
        cwd=sealed.repository / backup_id,
        env={
            "PATH": os.environ["PATH"],
            "identity": str(sealed.folder / "identity"),
            "fingerprint": fingerprint,
        },
        capture_output=True,
        check=True,
    )
    assert read.stdout == value


# Manifests that an attacker changed.


def rewrite_manifest(cli: CommandLine) -> None:
    """An attack with write access to the repository: the fingerprint is corrected too."""
    path = cli.stored("manifest.json")
    manifest = decode(path.read_bytes(), key=path.name)
    path.write_bytes(encode(replace(manifest, parts=manifest.parts[:1])))


def test_a_manifest_that_was_changed_is_refused_everywhere(sealed: CommandLine) -> None:
    sealed.holdfast("backup", "shop")
    backup_id = sealed.holdfast("list", "--json").document["backups"][0]["backup"]
    rewrite_manifest(sealed)
    for command in (("show",), ("verify",), ("restore", *TARGET)):
        answer = sealed.holdfast(command[0], backup_id, *command[1:])
        assert answer.exit_code == 56
        assert "it is not signed" in answer.stderr
    listed = sealed.holdfast("list", "--json").document
    assert (listed["backups"], len(listed["damaged"])) == ([], 1)


def test_a_backup_under_another_name_is_refused(sealed: CommandLine) -> None:
    sealed.holdfast("backup", "shop")
    (folder,) = (sealed.repository / "shop").iterdir()
    replayed = folder.with_name(f"20991231T235959Z-{folder.name[-8:]}")
    shutil.copytree(folder, replayed)
    assert sealed.holdfast("verify", f"shop/{replayed.name}").exit_code == 56
    latest = sealed.holdfast("show", "shop/latest", "--json").document["manifest"]
    assert latest["name"] == folder.name


def test_a_host_with_the_public_key_alone_reads_and_cannot_back_up(sealed: CommandLine) -> None:
    sealed.holdfast("backup", "shop")
    public = sealed.bare("keys", "public", str(sealed.folder / "signing")).stdout.strip()
    configure(sealed, f'authentication: {{public_keys: ["{public}"]}}')
    assert sealed.holdfast("verify", "shop/latest").exit_code == 0
    refused = sealed.holdfast("backup", "shop")
    assert refused.exit_code == 10
    assert "this host has no key to sign the manifest with" in refused.stderr
    assert sealed.holdfast("check").exit_code == 10


def test_backups_of_a_key_that_nobody_trusts_any_more_are_not_listed_as_good(
    sealed: CommandLine,
) -> None:
    sealed.holdfast("backup", "shop")
    public = sealed.bare("keys", "public", str(sealed.folder / "signing")).stdout.strip()
    assert len(sealed.holdfast("list", "--json").document["backups"]) == 1
    made(sealed, "signing", "next")
    configure(sealed, signing="next")
    assert "which is not a trusted key" in sealed.holdfast("list").stdout
    key_file = sealed.folder / "next"
    configure(sealed, f'authentication: {{key_file: {key_file}, public_keys: ["{public}"]}}')
    assert len(sealed.holdfast("list", "--json").document["backups"]) == 1


def test_a_signing_key_of_another_kind_is_told(sealed: CommandLine) -> None:
    path = sealed.folder / "signing"
    path.write_text("no key at all")
    answer = sealed.holdfast("backup", "shop")
    assert answer.exit_code == 10
    assert "it is not a private key in PEM without a passphrase" in answer.stderr


def test_no_stored_byte_and_no_line_of_a_log_shows_a_secret(sealed: CommandLine) -> None:
    answers = [sealed.holdfast("-v", "backup", "shop"), restored(sealed, *identity(sealed))]
    said = "".join(each.stdout + each.stderr for each in answers)
    said += sealed.holdfast("show", "shop/latest", "--json").stdout
    secrets = [
        (sealed.folder / name).read_text().splitlines()[1] for name in ("identity", "signing")
    ]
    stored = b"".join(path.read_bytes() for path in sealed.repository.rglob("*") if path.is_file())
    for secret in secrets:
        assert secret not in said
        assert secret.encode() not in stored
    assert b"1,ann" not in stored
