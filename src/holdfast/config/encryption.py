"""For whom a repository's backups are sealed, and whose signatures on them are believed."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from holdfast.config.recipients import PublicKey, Recipient, RecipientsPath, read_recipients
from holdfast.config.strict import Strict
from holdfast.config.values import SecretPath, problem


class EncryptionSettings(Strict):
    """For whom the parts of new backups are sealed: age recipients, which are public."""

    recipients: Annotated[tuple[Recipient, ...], Field(strict=False)] = ()
    recipients_file: RecipientsPath | None = None

    @model_validator(mode="after")
    def _has_recipients(self) -> Self:
        if not self.recipients and self.recipients_file is None:
            raise problem("it names no recipient", hint="add recipients: [age1...]")
        return self

    @property
    def everybody(self) -> tuple[str, ...]:
        """All recipients, each once, in their order; the file is read now."""
        listed = read_recipients(self.recipients_file) if self.recipients_file else ()
        return tuple(dict.fromkeys((*self.recipients, *listed)))


class AuthenticationSettings(Strict):
    """Who signs manifests, and whose signatures are believed: our own and the `public_keys`.

    Without a `key_file` this host can read what others have signed, and not back up.
    """

    key_file: SecretPath | None = None
    public_keys: Annotated[tuple[PublicKey, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _has_keys(self) -> Self:
        if not self.public_keys and self.key_file is None:
            raise problem("it names no key", hint="add a key_file, or public_keys: [ed25519:...]")
        return self
