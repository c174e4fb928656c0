"""Public keys in the configuration: mistakes are reported by line, and no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.catalog.signed_manifests import Signer
from holdfast.config.load import load
from holdfast.config.repositories import StoreSettings
from holdfast.model.errors import ConfigInvalid
from holdfast.pipeline.encryption import Identities

IDENTITY = Identities.generate()
(RECIPIENT,) = IDENTITY.recipients
(OTHER,) = Identities.generate().recipients
PUBLIC_KEY = Signer.generate().public_key

TEXT = """\
repositories:
  main:
    kind: local
    path: /var/lib/holdfast
    {block}:
      {line}
jobs: {{}}
"""


def written(folder: Path, block: str, line: str) -> Path:
    path = folder / "holdfast.yaml"
    path.write_text(TEXT.format(block=block, line=line))
    return path


def accepted(folder: Path, block: str, line: str) -> StoreSettings:
    return load(written(folder, block, line)).repositories["main"]


def refused(folder: Path, block: str, line: str) -> tuple[str, str]:
    path = written(folder, block, line)
    with pytest.raises(ConfigInvalid) as raised:
        load(path)
    return raised.value.message.partition(f"'{path}': ")[2], raised.value.hint


def listed(folder: Path, text: str, *, mode: int = 0o644) -> Path:
    path = folder / "recipients"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_recipients_of_the_list_and_of_the_file_are_taken_once_each(tmp_path: Path) -> None:
    file = listed(tmp_path, f"# the safe\n{OTHER}\n\n{RECIPIENT}\n")
    line = f"recipients: [{RECIPIENT}]\n      recipients_file: {file}"
    encryption = accepted(tmp_path, "encryption", line).encryption
    assert encryption is not None
    assert encryption.everybody == (RECIPIENT, OTHER)


def test_every_slip_in_a_recipient_is_told_with_its_line_and_path(tmp_path: Path) -> None:
    for at in range(len(RECIPIENT)):
        wrong = "q" if RECIPIENT[at] != "q" else "p"
        slipped = RECIPIENT[:at] + wrong + RECIPIENT[at + 1 :]
        what, hint = refused(tmp_path, "encryption", f"recipients: ['{slipped}']")
        assert what.startswith("line 6: repositories.main.encryption.recipients.0: '"), slipped
        assert "is not an age recipient (age1...)" in what
        assert "age-keygen" in hint


@pytest.mark.parametrize("text", ["", "age1", RECIPIENT[:-1], f"{RECIPIENT}q", RECIPIENT.upper()])
def test_what_is_no_recipient_is_refused(tmp_path: Path, text: str) -> None:
    what, _ = refused(tmp_path, "encryption", f"recipients: ['{text}']")
    assert "is not an age recipient" in what


def test_an_identity_among_the_recipients_is_refused_and_not_shown(tmp_path: Path) -> None:
    secret = IDENTITY.reveal().strip()
    what, hint = refused(tmp_path, "encryption", f"recipients: ['{secret}']")
    assert "this is an identity, the private half of a recipient" in what
    assert secret not in what + hint
    file = listed(tmp_path, secret)
    what, hint = refused(tmp_path, "encryption", f"recipients_file: {file}")
    assert f"cannot use '{file}': line 1 is not an age recipient" in what
    assert secret not in what + hint


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_a_file_of_recipients_that_others_can_change_is_refused(tmp_path: Path, mode: int) -> None:
    file = listed(tmp_path, RECIPIENT, mode=mode)
    what, hint = refused(tmp_path, "encryption", f"recipients_file: {file}")
    assert f"others may write to it (mode {mode:04o})" in what
    assert hint == f"chmod go-w {file}"


@pytest.mark.parametrize(
    ("text", "why"),
    [("# nobody\n", "it names no recipient"), ("\nage1nobody\n", "line 2 is not an age recipient")],
)
def test_a_file_of_recipients_that_says_nothing_is_refused(
    tmp_path: Path, text: str, why: str
) -> None:
    what, _ = refused(tmp_path, "encryption", f"recipients_file: {listed(tmp_path, text)}")
    assert why in what


def test_a_file_of_recipients_that_is_not_there_is_told(tmp_path: Path) -> None:
    what, _ = refused(tmp_path, "encryption", f"recipients_file: {tmp_path}/none")
    assert "No such file or directory" in what


@pytest.mark.parametrize(
    ("block", "why"),
    [("encryption", "it names no recipient"), ("authentication", "it names no key")],
)
def test_a_block_that_names_nobody_is_refused(tmp_path: Path, block: str, why: str) -> None:
    assert why in refused(tmp_path, block, "{}")[0]


def test_keys_that_sign_are_accepted_as_they_are_printed(tmp_path: Path) -> None:
    settings = accepted(tmp_path, "authentication", f"public_keys: ['{PUBLIC_KEY}']")
    assert settings.authentication is not None
    assert settings.authentication.public_keys == (PUBLIC_KEY,)


@pytest.mark.parametrize(
    "text", ["", "ed25519:", PUBLIC_KEY[:-5] + "=", PUBLIC_KEY[8:], "rsa:AA=="]
)
def test_what_is_no_public_key_is_refused(tmp_path: Path, text: str) -> None:
    what, hint = refused(tmp_path, "authentication", f"public_keys: ['{text}']")
    assert "is not a public key (ed25519:...)" in what
    assert "holdfast keys public" in hint


def test_a_signing_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = listed(tmp_path, "whatever", mode=0o644)
    what, _ = refused(tmp_path, "authentication", f"key_file: {file}")
    assert "is accessible to others (mode 0644)" in what
