"""How kept values are called: after their content, or so that only we can tell what it is."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

from holdfast.model.backup import Manifest
from holdfast.model.errors import IdentityNeeded, VerifyFailed
from holdfast.operations.parts.read import HINT, not_for
from holdfast.pipeline.encryption import CannotOpen, Identities, sealed
from holdfast.pipeline.flow import CorruptStream


@dataclass(frozen=True, slots=True)
class BlobNames:
    """The names of the blobs of one backup.

    A sealed blob is not named by the SHA-256 of its content, or whoever has the same document would
    know that it is in here. What it is sealed for goes into the name as well: a backup for new
    recipients never leans on a blob that only the old ones can open.
    """

    secret: bytes = b""
    recipients: tuple[str, ...] = ()

    def name_of(self, sha256: str) -> str:
        if not self.recipients:
            return sha256
        text = "\n".join([*sorted(self.recipients), sha256])
        return hmac.new(self.secret, text.encode(), "sha256").hexdigest()

    def sealed_secret(self) -> str:
        """The secret as it stands in a manifest: for the recipients only."""
        if not self.recipients:
            return ""
        return base64.b64encode(sealed(self.secret, self.recipients)).decode()

    def __repr__(self) -> str:
        return f"BlobNames(***, {self.recipients})"


def names_in(manifest: Manifest, identities: Identities | None) -> BlobNames:
    """The names that `manifest` uses; raises `IdentityNeeded`, `VerifyFailed`."""
    if not manifest.blob_secret:
        return BlobNames()
    what = f"the names of blobs in '{manifest.backup_id}'"
    if identities is None:
        raise IdentityNeeded(f"cannot open {what}: no identity is given")
    try:
        secret = identities.opened(base64.b64decode(manifest.blob_secret, validate=True))
    except (CorruptStream, binascii.Error) as error:
        raise VerifyFailed(f"cannot trust {what}: {error}", hint=HINT) from error
    except CannotOpen as error:
        raise not_for(identities, what, manifest.recipients) from error
    return BlobNames(secret, manifest.recipients)
