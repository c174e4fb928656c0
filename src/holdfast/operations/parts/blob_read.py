"""Read blobs, whose names prove their content; where blobs are encrypted, names are keyed."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from holdfast.model.errors import IdentityNeeded, VerifyFailed
from holdfast.model.fingerprints import BLAKE3, CRYPTOGRAPHIC, SHA256
from holdfast.model.lazy_dataclass import dataclass, replace
from holdfast.operations.parts.read import (
    HINT,
    IDENTITY_HINT,
    BlobRecords,
    Opens,
    called,
    not_for,
    proven_bytes,
    require_stored,
)
from holdfast.pipeline.encryption import CannotOpen, Identities, sealed
from holdfast.pipeline.flow import CorruptStream, Fingerprint

if TYPE_CHECKING:
    from holdfast.model.backup import Blob, Manifest
    from holdfast.ports.repository import Repository


def stored_fingerprint(
    repository: Repository,
    blob: Blob,
    *,
    records: BlobRecords,
    advance: Callable[[int], None] = lambda _: None,
    algorithm: str = BLAKE3,
) -> Fingerprint:
    """The fingerprint of the stored bytes of `blob`; by `algorithm` if it is not encrypted.

    An unsealed blob is verified by its content, which its name states. Raises what `proven_blob`
    raises.
    """
    if blob.encryption != "none":
        return require_stored(repository, blob, advance=advance, records=records)
    stored, bare = Fingerprint(algorithm), replace(blob, stored_bytes=0, stored_fingerprint="")
    for chunk in proven_blob(repository, bare, stored=stored):
        advance(len(chunk))
    return stored


def proven_blob(
    repository: Opens,
    blob: Blob,
    *,
    names: BlobNames | None = None,
    identities: Identities | None = None,
    records: BlobRecords | None = None,
    stored: Fingerprint | None = None,
) -> Generator[bytes, None, None]:
    """The plain bytes of `blob`; the last chunk is yielded only after everything has matched.

    The content must match the blob's name. The stored bytes must match this backup's record or
    another one in `records`. `stored` has then seen all stored bytes. Raises `VerifyFailed`, whose
    cause is `ObjectMissing` for a missing blob. Raises `IdentityNeeded` if the blob is whole but
    sealed for other recipients.
    """
    plain = Fingerprint(algorithm_of_name(blob))

    def require(_: Fingerprint) -> None:
        name = (names or BlobNames()).name_of(plain.fingerprint)
        if name != blob_name(blob):
            raise VerifyFailed(
                f"cannot trust {called(blob)}: its content belongs to blob '{name}'", hint=HINT
            )

    return proven_bytes(
        repository,
        blob,
        plain,
        stored=stored,
        identities=identities,
        require=require,
        records=records,
    )


def blob_name(blob: Blob) -> str:
    """The name of a blob, which is derived from its content."""
    if blob.plain_fingerprint:
        return BlobNames().name_of(blob.plain_fingerprint)
    return blob.key.rpartition("/")[2].partition(".")[0]


def algorithm_of_name(blob: Blob) -> str:
    """A name without an algorithm is of SHA-256, as the first release wrote it."""
    algorithm = blob_name(blob).rpartition("-")[0]
    return algorithm if algorithm in CRYPTOGRAPHIC else SHA256


@dataclass(frozen=True, slots=True)
class BlobNames:
    """The names of the blobs of one backup: `blake3-HEX`, or `HEX` alone for a SHA-256.

    For sealed blobs the digits are those of an HMAC-SHA-256. The plain fingerprint would let
    anybody who has the same document see that it is stored here. The HMAC covers the recipients,
    too: a backup for new recipients must never refer to a blob that only the old ones can open.
    """

    secret: bytes = b""
    recipients: tuple[str, ...] = ()

    def name_of(self, fingerprint: str) -> str:
        algorithm, _, digits = fingerprint.rpartition(":")
        prefix = "" if algorithm == SHA256 else f"{algorithm}-"
        if self.recipients:
            said = digits if algorithm == SHA256 else fingerprint
            text = "\n".join([*sorted(self.recipients), said])
            import hmac  # only where names are keyed

            digits = hmac.new(self.secret, text.encode(), "sha256").hexdigest()
        return f"{prefix}{digits}"

    def sealed_secret(self) -> str:
        """The secret as a manifest holds it, sealed for the recipients; empty if there are none."""
        if not self.recipients:
            return ""
        import base64

        return base64.b64encode(sealed(self.secret, self.recipients)).decode()

    def __repr__(self) -> str:
        return f"BlobNames(***, {self.recipients})"


def names_in(manifest: Manifest, identities: Identities | None) -> BlobNames:
    """The names that `manifest` uses; raises `IdentityNeeded`, `VerifyFailed`."""
    if not manifest.blob_secret:
        return BlobNames()
    what = f"the blob names of backup '{manifest.backup_id}'"
    if identities is None:
        raise IdentityNeeded(
            f"cannot open {what}: they are encrypted, and no identity is given", hint=IDENTITY_HINT
        )
    import base64

    try:
        secret = identities.opened(base64.b64decode(manifest.blob_secret, validate=True))
    except (CorruptStream, binascii.Error) as error:
        raise VerifyFailed(f"cannot trust {what}: {error}", hint=HINT) from error
    except CannotOpen as error:
        raise not_for(identities, what, manifest.recipients) from error
    return BlobNames(secret, manifest.recipients)
