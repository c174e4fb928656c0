"""Read keys from their files: identities that open backups, and keys that sign manifests.

Only the functions that need `cryptography` import it: it loads slower than everything else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.config.credentials import CREDENTIALS, KEPT, NoCredential, credential_if_any
from holdfast.config.private_files import read_private
from holdfast.config.secret import Secret, secret_files, secret_of
from holdfast.model.errors import ConfigInvalid
from holdfast.pipeline.encryption import SECRET_PREFIX, CannotOpen, Identities, is_locked, unlocked

if TYPE_CHECKING:
    from holdfast.catalog.signed_manifests import SignedManifests, Signer
    from holdfast.config.encryption import AuthenticationSettings
    from holdfast.config.settings import Settings
    from holdfast.ports.repository import Repository

IDENTITY_VARIABLE = "HOLDFAST_IDENTITY_FILE"
IDENTITY_CREDENTIAL = "holdfast-identity"
PASSPHRASE_VARIABLE = "HOLDFAST_IDENTITY_PASSPHRASE_FILE"  # noqa: S105 - where one is found
PASSPHRASE_CREDENTIAL = "holdfast-identity-passphrase"  # noqa: S105 - as above
PEM = b"-----BEGIN"
# The header that `holdfast keys signing` and openssl write; SSH keys have another one.
SIGNING_KEY = b"-----BEGIN PRIVATE KEY-----"
IDENTITY_HINT = (
    "use a file written by age-keygen, holdfast keys identity, or ssh-keygen"
    " (Ed25519, RSA); docs/encryption.md covers plugins"
)
PASSPHRASE_HINT = (
    f"write the passphrase into a private file that {PASSPHRASE_VARIABLE} names, make it the"
    f" systemd credential {PASSPHRASE_CREDENTIAL}, or start it at a terminal"
)


def require_believed(
    repository: Repository, settings: AuthenticationSettings | None
) -> Callable[[str, bytes], object]:
    """A function that gets a manifest's key and content.

    It raises `ManifestUntrusted` if a reader of `repository` would not trust that manifest.
    """
    if settings is None:
        return lambda _key, _content: None
    return signed_manifests(repository, settings).proven


def believed_keys(settings: AuthenticationSettings | None) -> tuple[str, ...]:
    """The public keys whose signatures are trusted; empty if no signature is required."""
    if settings is None:
        return ()
    signer = _signer(settings)
    own = (signer.public_key,) if signer else ()
    return tuple(dict.fromkeys((*own, *settings.public_keys)))


def signed_manifests(repository: Repository, settings: AuthenticationSettings) -> SignedManifests:
    """`repository`, with manifests signed when written and verified when read."""
    from holdfast.catalog.signed_manifests import SignedManifests

    signer = partial(_signer, settings)
    return SignedManifests(repository, signer=signer, trusted=settings.public_keys)


def identities_from(file: Path | None) -> Identities | None:
    """The identities in `file`, else in HOLDFAST_IDENTITY_FILE, else in the systemd credential.

    None if none of them is given. Raises `ConfigInvalid`.
    """
    path = file or identity_file()
    if path is not None:
        _require_name(path)
        content = read_private(path, what="identity file")
    else:
        path = Path(IDENTITY_CREDENTIAL)
        kept = _kept(IDENTITY_CREDENTIAL)
        if kept is None:
            return None
        content = kept
    try:
        return _identities(content, path)
    except ValueError as error:
        raise _unusable(path, str(error), hint=IDENTITY_HINT) from None


def _identities(content: bytes, path: Path) -> Identities:
    """Raises `ValueError` if there is no identity, `ConfigInvalid` if its passphrase fails."""
    if is_locked(content):
        content = _unlocked(content, path)
    # An SSH key fills the whole file. Its code loads so slowly that other identities avoid it.
    if content.lstrip().startswith(PEM):
        return _of_ssh(content, path)
    return Identities.parse(content.decode(errors="replace"))


def _unlocked(content: bytes, path: Path) -> bytes:
    try:
        return unlocked(content, passphrase_of(path).reveal())
    except CannotOpen as error:
        raise _unusable(path, str(error), hint=PASSPHRASE_HINT) from error


def _of_ssh(content: bytes, path: Path) -> Identities:
    from holdfast.catalog.ssh_keys import PassphraseNeeded, opened

    try:
        key = opened(content, None)
    except PassphraseNeeded:
        key = opened(content, passphrase_of(path).reveal())
    return Identities.of_ssh(key.private, key.public)


def _unusable(path: Path, cause: str, *, hint: str) -> ConfigInvalid:
    return ConfigInvalid(f"cannot use identity file '{path}': {cause}", hint=hint)


def passphrase_of(path: Path) -> Secret:
    """The passphrase of the identity in `path`.

    It is read from the file that the environment names, else from the systemd credential, else
    from the terminal. Raises `ConfigInvalid`.
    """
    if (file := _named(PASSPHRASE_VARIABLE, PASSPHRASE_CREDENTIAL)) is not None:
        passphrase = _first_line(read_private(file, what="passphrase file"))
    elif (kept := _kept(PASSPHRASE_CREDENTIAL)) is not None:
        passphrase = _first_line(kept)
    else:
        passphrase = _asked(path)
    if not passphrase:
        raise _unusable(path, "it is locked, and its passphrase is empty", hint=PASSPHRASE_HINT)
    return Secret(passphrase)


def _first_line(content: bytes) -> str:
    return content.decode(errors="replace").partition("\n")[0].removesuffix("\r")


def _kept(name: str) -> bytes | None:
    """The credential that the host keeps for work without a unit; None if it has none."""
    try:
        return credential_if_any(name, os.environ)
    except NoCredential as error:
        raise ConfigInvalid(
            f"cannot use credential '{name}': {error.what}", hint=error.hint
        ) from error


def _asked(path: Path) -> str:
    """Ask at the terminal itself: stdin and stdout may be pipes, and stdout may carry JSON."""
    import getpass

    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return getpass.getpass(f"Passphrase of '{path}': ")
    except (OSError, EOFError):
        cause = "it is locked by a passphrase, and there is no terminal to ask for it"
        raise _unusable(path, cause, hint=PASSPHRASE_HINT) from None


def public_half(path: Path) -> str:
    """The public half of the key in `path`: recipients, or the key that verifies signatures.

    Raises `ConfigInvalid`.
    """
    _require_name(path)
    content = read_private(path, what="key")
    if content.startswith(SIGNING_KEY):
        return _parsed(content, f"'{path}'").public_key
    identities = identities_from(path)
    return "\n".join(identities.recipients) if identities else ""


def _require_name(path: Path) -> None:
    """Raises `ConfigInvalid`, without quoting it, for an identity in place of a file name."""
    if path.name.upper().startswith(SECRET_PREFIX):
        raise ConfigInvalid(
            "cannot use an identity from the command line: process lists would show it",
            hint="make a new identity, and pass the name of its file",
        )


def identity_file() -> Path | None:
    """The file that the environment names, or the systemd credential."""
    return _named(IDENTITY_VARIABLE, IDENTITY_CREDENTIAL)


def secret_places(settings: Settings) -> Iterator[Path]:
    """What nobody but holdfast may read: credentials, keys, its state, and backups of this host."""
    yield from (Path("/run/credentials"), KEPT.parent, settings.state_directory)
    if folder := os.environ.get(CREDENTIALS):
        yield Path(folder)
    if identity := identity_file():
        yield identity
    yield from secret_files(settings)
    yield from (each.path for each in settings.repositories.values() if each.kind == "local")


def _named(variable: str, credential: str) -> Path | None:
    if named := os.environ.get(variable):
        return Path(named)
    folder = os.environ.get(CREDENTIALS)
    found = Path(folder, credential) if folder else None
    return found if found and found.exists() else None


def _signer(settings: AuthenticationSettings) -> Signer | None:
    """The key that signs, from its file or its secret; None if this host has none."""
    if settings.key is not None:
        found = secret_of(settings.key, "the signing key")
        return _parsed(found.reveal().encode(), "of authentication.key") if found else None
    if settings.key_file is None:
        return None
    return _parsed(read_private(settings.key_file, what="signing key"), f"'{settings.key_file}'")


def _parsed(content: bytes, which: str) -> Signer:
    from holdfast.catalog.signed_manifests import Signer

    try:
        return Signer.parse(content)
    except ValueError as error:
        raise ConfigInvalid(
            f"cannot use signing key {which}: {error}", hint="holdfast keys signing FILE makes one"
        ) from None
