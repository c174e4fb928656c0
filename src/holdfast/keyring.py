"""Keys out of their files: what opens backups, and what signs them.

`cryptography` is loaded by the function that needs it: it takes longer than all the rest.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.config.encryption import AuthenticationSettings
from holdfast.config.secret import read_private
from holdfast.errors import ConfigInvalid
from holdfast.pipeline.decrypt import SECRET_PREFIX, Identities
from holdfast.ports import Repository

if TYPE_CHECKING:
    from holdfast.catalog.signed_manifests import SignedManifests
    from holdfast.catalog.signing import Signer

IDENTITY_VARIABLE = "HOLDFAST_IDENTITY_FILE"
IDENTITY_CREDENTIAL = "holdfast-identity"
PEM = b"-----BEGIN"


def authenticated(repository: Repository, settings: AuthenticationSettings | None) -> Repository:
    """`repository` with its manifests signed and proven, where that is asked for."""
    return repository if settings is None else _signed(repository, settings)


def require_believed(
    repository: Repository, settings: AuthenticationSettings | None, key: str, content: bytes
) -> None:
    """Raise `ManifestUntrusted` where a reader of `repository` would not believe that manifest."""
    if settings is not None:
        _signed(repository, settings).proven(key, content)


def believed_keys(settings: AuthenticationSettings | None) -> tuple[str, ...]:
    """The public keys whose signatures are believed; none where nobody asks for one."""
    if settings is None:
        return ()
    own = (_signer(settings.key_file).public_key,) if settings.key_file else ()
    return tuple(dict.fromkeys((*own, *settings.public_keys)))


def _signed(repository: Repository, settings: AuthenticationSettings) -> SignedManifests:
    from holdfast.catalog.signed_manifests import SignedManifests

    def signer() -> Signer | None:
        return _signer(settings.key_file) if settings.key_file else None

    return SignedManifests(repository, signer=signer, trusted=settings.public_keys)


def identities_from(file: Path | None) -> Identities | None:
    """The identities in `file`, else in HOLDFAST_IDENTITY_FILE, else in the systemd credential.

    None where none of them is given. Raises `ConfigInvalid`.
    """
    path = file or identity_file()
    if path is None:
        return None
    _require_name(path)
    text = read_private(path, what="identity file").decode(errors="replace")
    try:
        return Identities.parse(text)
    except ValueError as error:
        raise ConfigInvalid(
            f"cannot use identity file '{path}': {error}",
            hint="it holds what age-keygen, or holdfast keys identity, has written",
        ) from None


def public_half(path: Path) -> str:
    """What may be known of the key in `path`: its recipients, or the key that proves its
    signatures. Raises `ConfigInvalid`."""
    _require_name(path)
    if read_private(path, what="key").startswith(PEM):
        return _signer(path).public_key
    identities = identities_from(path)
    return "\n".join(identities.recipients) if identities else ""


def _require_name(path: Path) -> None:
    """An identity where its file should be named is not repeated in an error as well."""
    if path.name.upper().startswith(SECRET_PREFIX):
        raise ConfigInvalid(
            "cannot use an identity from the command line: every list of processes shows it",
            hint="make a new identity, and name its file",
        )


def identity_file() -> Path | None:
    """The file that the environment names, or the systemd credential."""
    if named := os.environ.get(IDENTITY_VARIABLE):
        return Path(named)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(folder, IDENTITY_CREDENTIAL) if folder else None
    return credential if credential and credential.exists() else None


def _signer(path: Path) -> Signer:
    from holdfast.catalog.signing import Signer

    try:
        return Signer.parse(read_private(path, what="signing key"))
    except ValueError as error:
        raise ConfigInvalid(
            f"cannot use signing key '{path}': {error}", hint="holdfast keys signing FILE makes one"
        ) from None
