"""`holdfast keys`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.context import JsonOption, print_document, session_of

commands = typer.Typer(help="Make the keys that encrypt and sign backups.", no_args_is_help=True)

NewFile = Annotated[Path, typer.Argument(help="The file to make.", metavar="FILE", readable=False)]
KeyFile = Annotated[
    Path, typer.Argument(help="A file that was made so.", metavar="FILE", readable=False)
]


@commands.command()
def identity(context: typer.Context, file: NewFile, *, as_json: JsonOption = False) -> None:
    """Make an age identity in FILE and print its recipient, the public half.

    The recipient goes into encryption.recipients of a repository. FILE opens the backups: keep it
    where restores happen and a copy where no fire reaches both, never on the database hosts.

    \b
    holdfast keys identity /root/restore.key
    """
    from holdfast.config.secret import write_private
    from holdfast.pipeline.encryption import Identities

    made = Identities.generate()
    (recipient,) = made.recipients
    write_private(file, f"# public key: {recipient}\n{made.reveal()}".encode())
    _tell(context, file, recipient, as_json=as_json)


@commands.command()
def signing(context: typer.Context, file: NewFile, *, as_json: JsonOption = False) -> None:
    """Make a key in FILE that signs manifests and print its public half.

    FILE goes into authentication.key_file on the hosts that back up, the public key into
    authentication.public_keys where backups are only read.

    \b
    holdfast keys signing /etc/holdfast/signing.key
    """
    from holdfast.catalog.signed_manifests import Signer
    from holdfast.config.secret import write_private

    made = Signer.generate()
    write_private(file, made.reveal())
    _tell(context, file, made.public_key, as_json=as_json)


@commands.command()
def public(context: typer.Context, file: KeyFile, *, as_json: JsonOption = False) -> None:
    """Print the public half of the key in FILE, whichever of the two it is."""
    from holdfast.wiring import keys

    _tell(context, file, keys.public_half(file), as_json=as_json)


def _tell(context: typer.Context, file: Path, public_key: str, *, as_json: bool) -> None:
    if as_json:
        print_document("keys", {"file": str(file), "public_key": public_key})
    else:
        session_of(context).say(public_key)
