"""`holdfast keys`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.context import JsonOption, print_document, session_of
from holdfast.cli.parameters import Group

commands = Group(help="Make the keys that encrypt and sign backups.")

NewFile = Annotated[Path, typer.Argument(help="The file to make.", metavar="FILE", readable=False)]
KeyFile = Annotated[
    Path, typer.Argument(help="An identity or a signing key.", metavar="FILE", readable=False)
]


IDENTITY_EXAMPLES = """\
# Make an identity for restores
holdfast keys identity /root/restore.key

# The same; print only the recipient
holdfast keys identity /root/restore.key --json | jq -r .public_key
"""


@commands.command(examples=IDENTITY_EXAMPLES)
def identity(context: typer.Context, file: NewFile, *, as_json: JsonOption = False) -> None:
    """Make an age identity in FILE, and print its recipient, the public half.

    Put the recipient into encryption.recipients of a repository. FILE opens the backups: keep it
    where you restore, with a copy at another place, and never on the database hosts.
    """
    from holdfast.config.private_files import write_private
    from holdfast.pipeline.encryption import Identities

    made = Identities.generate()
    (recipient,) = made.recipients
    write_private(file, f"# public key: {recipient}\n{made.reveal()}".encode())
    _tell(context, file, recipient, as_json=as_json)


SIGNING_EXAMPLES = """\
# Make the key of a host that backs up
holdfast keys signing /etc/holdfast/signing.key

# The same; print only the public key
holdfast keys signing /etc/holdfast/signing.key --json | jq -r .public_key
"""


@commands.command(examples=SIGNING_EXAMPLES)
def signing(context: typer.Context, file: NewFile, *, as_json: JsonOption = False) -> None:
    """Make a key in FILE that signs manifests, and print its public half.

    Put FILE into authentication.key_file on the hosts that back up, and the public key into
    authentication.public_keys on hosts that only read backups.
    """
    from holdfast.catalog.signed_manifests import Signer
    from holdfast.config.private_files import write_private

    made = Signer.generate()
    write_private(file, made.reveal())
    _tell(context, file, made.public_key, as_json=as_json)


PUBLIC_EXAMPLES = """\
# The recipient of an identity
holdfast keys public /root/restore.key

# The public half of a signing key
holdfast keys public /etc/holdfast/signing.key
"""


@commands.command(examples=PUBLIC_EXAMPLES)
def public(context: typer.Context, file: KeyFile, *, as_json: JsonOption = False) -> None:
    """Print the public half of the key in FILE, an identity or a signing key."""
    from holdfast.wiring import keys

    _tell(context, file, keys.public_half(file), as_json=as_json)


def _tell(context: typer.Context, file: Path, public_key: str, *, as_json: bool) -> None:
    if as_json:
        print_document("keys", {"file": str(file), "public_key": public_key})
    else:
        session_of(context).say(public_key)
