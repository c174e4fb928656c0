"""Every kind of key that age knows without a plugin, from the backup to the restore."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from holdfast.pipeline.encryption import Identities
from tests.support.command_line import Answer, CommandLine
from tests.unit.cli.test_encryption import configure, restored

pytestmark = pytest.mark.stock("ssh-keygen")

PASSPHRASE = "correct horse battery staple"
# How each is made, how it is protected, and whether the stock `age` uses it without a question.
SSH_KINDS = {
    "ssh-ed25519": ["-t", "ed25519", "-N", ""],
    "ssh-rsa": ["-t", "rsa", "-b", "2048", "-N", ""],
    "ssh-rsa as PEM": ["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""],
    "ssh-ed25519, locked": ["-t", "ed25519", "-N", PASSPHRASE],
    "ssh-rsa, locked": ["-t", "rsa", "-b", "2048", "-N", PASSPHRASE],
    "ssh-rsa as PEM, locked": ["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", PASSPHRASE],
}
AGE_KINDS = ("age, locked", "age, locked and armoured")
PROGRAM = "from holdfast.cli.main import main; main()"
KINDS = (*SSH_KINDS, *AGE_KINDS)


def make_key(folder: Path, kind: str) -> str:
    """A key in `folder/key`; its recipient as an operator copies it."""
    path = folder / "key"
    if kind in SSH_KINDS:
        argv = ["ssh-keygen", "-q", "-C", "ann@example.com", "-f", str(path), *SSH_KINDS[kind]]
        subprocess.run(argv, check=True)
        return (folder / "key.pub").read_text().strip()
    made = Identities.generate()
    locked = pyrage.passphrase.encrypt(
        f"# a comment\n{made.reveal()}".encode(), PASSPHRASE, armored=kind.endswith("armoured")
    )
    path.write_bytes(locked)
    path.chmod(0o600)
    return made.recipients[0]


@pytest.fixture
def passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "passphrase"
    file.write_text(f"{PASSPHRASE}\n")
    file.chmod(0o600)
    monkeypatch.setenv("HOLDFAST_IDENTITY_PASSPHRASE_FILE", str(file))
    return file


def sealed_for(cli: CommandLine, recipient: str) -> None:
    configure(cli, f"encryption: {{recipients: ['{recipient}']}}")
    assert cli.holdfast("check").exit_code == 0
    assert cli.holdfast("backup", "shop").exit_code == 0


def identity(cli: CommandLine) -> tuple[str, str]:
    return "--identity", str(cli.folder / "key")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sealed_for_a_key_is_verified_and_restored_with_it(
    cli: CommandLine, passphrase: Path, kind: str
) -> None:
    recipient = make_key(cli.folder, kind)
    sealed_for(cli, recipient)
    (listed,) = cli.holdfast("list", "--json").document["backups"]
    assert listed["recipients"] == [" ".join(recipient.split()[:2])]
    verified = cli.holdfast("verify", "shop/latest", *identity(cli), "--json")
    assert (verified.document["verified"], verified.document["unopened"]) == (True, 0)
    answer = restored(cli, *identity(cli))
    assert answer.exit_code == 0, answer.stderr
    assert cli.target.tables["public.orders"] == b"1,ann\n2,bob\n"
    told = cli.holdfast("keys", "public", str(cli.folder / "key"))
    assert told.stdout == " ".join(recipient.split()[:2]) + "\n"


@pytest.mark.stock("age", "zstd")
@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa"])
def test_the_stock_age_opens_a_part_with_the_same_key(cli: CommandLine, kind: str) -> None:
    sealed_for(cli, make_key(cli.folder, kind))
    stored = cli.stored("orders.copy.zst.age")
    script = 'age -d -i "$1" "$2" | zstd -dc'
    argv = ["sh", "-c", script, "sh", str(cli.folder / "key"), str(stored)]
    opened = subprocess.run(argv, capture_output=True, check=True)
    assert opened.stdout == b"1,ann\n2,bob\n"


def test_a_file_of_recipients_may_be_one_of_authorized_keys(cli: CommandLine) -> None:
    public = make_key(cli.folder, "ssh-ed25519")
    recipients = cli.folder / "recipients"
    recipients.write_text(f"# who may restore\n{public}\n{Identities.generate().recipients[0]}\n")
    recipients.chmod(0o644)
    configure(cli, f"encryption: {{recipients_file: {recipients}}}")
    assert cli.holdfast("backup", "shop").exit_code == 0
    assert restored(cli, *identity(cli)).exit_code == 0


@pytest.mark.parametrize("kind", ["age, locked", "ssh-ed25519, locked", "ssh-rsa as PEM, locked"])
def test_a_wrong_passphrase_is_told_without_it(
    cli: CommandLine, passphrase: Path, kind: str
) -> None:
    sealed_for(cli, make_key(cli.folder, kind))
    passphrase.write_text("tr0ub4dor&3\n")
    answer = restored(cli, *identity(cli))
    assert answer.exit_code == 10
    assert f"error: cannot use identity file '{cli.folder}/key': " in answer.stderr
    assert "passphrase" in answer.stderr
    assert "tr0ub4dor" not in answer.stderr
    assert cli.target.tables == {}


def alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A call without a terminal, as a unit or a server makes it."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )


@pytest.mark.parametrize("kind", ["age, locked", "ssh-ed25519, locked"])
def test_where_nobody_can_be_asked_the_passphrase_is_said_to_be_missing(
    cli: CommandLine, kind: str
) -> None:
    make_key(cli.folder, kind)
    done = alone("keys", "public", str(cli.folder / "key"))
    assert done.returncode == 10
    assert "it is locked by a passphrase, and there is no terminal to ask for it" in done.stderr
    assert "HOLDFAST_IDENTITY_PASSPHRASE_FILE" in done.stderr


@pytest.mark.parametrize("kind", ["age, locked", "ssh-ed25519, locked"])
def test_at_a_terminal_the_passphrase_is_asked_for_and_not_shown(
    cli: CommandLine, kind: str
) -> None:
    recipient = make_key(cli.folder, kind)
    out = cli.folder / "out"
    ours, theirs = pty.openpty()
    # The terminal on its stdin becomes its controlling one, where it asks.
    own = f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {PROGRAM}"
    with (
        out.open("wb") as stdout,
        subprocess.Popen(
            [sys.executable, "-c", own, "keys", "public", str(cli.folder / "key")],
            stdin=theirs,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process,
    ):
        said = os.read(ours, 1000)
        while not said.rstrip().endswith(b":"):
            said += os.read(ours, 1000)
        os.write(ours, f"{PASSPHRASE}\n".encode())
        assert process.wait() == 0
    said += os.read(ours, 1000)
    os.close(theirs)
    os.close(ours)
    assert said.decode().split() == ["Passphrase", "of", f"'{cli.folder}/key':"]
    assert out.read_text() == " ".join(recipient.split()[:2]) + "\n"


def refused(cli: CommandLine, recipient: str) -> Answer:
    configure(cli, f"encryption: {{recipients: ['{recipient}']}}")
    answer = cli.holdfast("check")
    assert answer.exit_code == 10
    return answer


# Of a token that does not exist; both halves are examples in the plugin's manual.
TOKEN = "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t"
TOKEN_IDENTITY = "AGE-PLUGIN-YUBIKEY-1XYZQWQZQRNL3DQGN6QQ8Q"


def test_a_plugin_is_refused_by_name_wherever_it_stands(cli: CommandLine) -> None:
    answer = refused(cli, TOKEN)
    assert "is for an age plugin, and plugins are not supported" in answer.stderr
    assert "docs/encryption.md" in answer.stderr
    key = cli.folder / "key"
    key.write_text(f"# a token\n{TOKEN_IDENTITY}\n")
    key.chmod(0o600)
    answer = cli.holdfast("keys", "public", str(key))
    assert answer.exit_code == 10
    assert "line 2 is for an age plugin, and plugins are not supported" in answer.stderr
    assert TOKEN_IDENTITY not in answer.stderr


@pytest.mark.parametrize("argv", ["-t ecdsa", "-t rsa -b 1024", "-t rsa -b 4160"])
def test_ssh_keys_that_age_cannot_seal_for_are_refused_with_what_it_can(
    cli: CommandLine, argv: str
) -> None:
    key = str(cli.folder / "key")
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", key, *argv.split()], check=True)
    answer = refused(cli, Path(f"{key}.pub").read_text().strip())
    assert "is not an SSH key that age supports" in answer.stderr
    assert "RSA of 2048 to 4096 bits" in answer.stderr


SLIPS = [("AAAAC3", "AAAAD3"), ("ssh-ed25519", "ssh-rsa"), ("AAAAC3NzaC1lZDI1NTE5", "")]


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_an_ssh_key_is_told_before_the_first_backup(
    cli: CommandLine, slip: tuple[str, str]
) -> None:
    public = " ".join(make_key(cli.folder, "ssh-ed25519").split()[:2])
    assert "is not an SSH key that age supports" in refused(cli, public.replace(*slip, 1)).stderr


def test_the_key_of_somebody_else_is_told_by_its_public_half(cli: CommandLine) -> None:
    sealed_for(cli, Identities.generate().recipients[0])
    public = make_key(cli.folder, "ssh-ed25519")
    answer = restored(cli, *identity(cli))
    assert answer.exit_code == 15
    assert " ".join(public.split()[:2]) in answer.stderr
