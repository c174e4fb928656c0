"""How the server's own programs are made to begin with a statement of ours."""

from __future__ import annotations

from holdfast.sources.mysql.server.address import Address
from holdfast.sources.mysql.server.version import MARIADB


def prepared_login(address: Address, kind: str, preparation: str) -> dict[str, str]:
    """Options for the file that a program of `kind` reads its login from.

    MariaDB's programs know no such option, but their library does, as part of a connection string
    in the place of a host: names and values with semicolons between them.
    """
    if kind != MARIADB:
        return {"init-command": preparation}
    where = "localhost" if address.unix_socket else address.host
    return {"host": f"host={where};init-command={{{preparation}}}"}
