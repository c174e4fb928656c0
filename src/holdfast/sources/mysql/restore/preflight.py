"""Finds what would make a restore fail, before it changes anything."""

from __future__ import annotations

from holdfast.model.backup import PartKind
from holdfast.model.errors import GrantMissing, RestoreFailed, Unsupported
from holdfast.model.part_details import MysqlDatabase, MysqlDump, MysqlGrants
from holdfast.ports.target import RestoreRequest, Way
from holdfast.sources.mysql.server.accounts import Account
from holdfast.sources.mysql.server.connection import Address
from holdfast.sources.mysql.server.privileges import EVERYTHING, Held, held
from holdfast.sources.mysql.server.session import ServerVersion, Session

# A statement is sent in one packet: its head needs room beside its longest text.
HEAD_BYTES = 1 << 16


def require(asking: Session, address: Address, request: RestoreRequest) -> None:
    """Raise `GrantMissing`, `RestoreFailed` or `Unsupported` where `request` cannot succeed."""
    _require_form(address, request)
    _require_rights(asking, address)
    _require_packet(asking, address, request)
    if not (request.tables or request.options.globals or request.options.keep_going):
        _require_accounts(asking, address, request)


def _require_form(address: Address, request: RestoreRequest) -> None:
    """Refuse a server's files, which only a folder can hold, and options that are not obeyed."""
    archives = [part for part in request.parts if part.kind is PartKind.ARCHIVE]
    if any(not isinstance(part.details, MysqlDump) for part in archives):
        raise Unsupported(
            f"cannot restore into '{address}': the backup holds a server's files, not SQL",
            hint="--to file:///DIRECTORY unpacks them for a server to start on",
        )
    request.require_obeyed(Way.SQL_DUMP if archives else Way.SQL, into=f"'{address}'")


def _require_rights(asking: Session, address: Address) -> None:
    """Definers, grants and accounts belong to others: only an administrator can restore them."""
    if Held(EVERYTHING, "*") in held(asking):
        return
    # MySQL 8 lists ALL as single rights, and some administrators were granted single rights.
    spelt_out = {right.right for right in held(asking) if right.database == "*"}
    if not {"CREATE", "DROP", "INSERT", "CREATE VIEW", "TRIGGER", "EVENT"} <= spelt_out:
        user = asking.value("SELECT CURRENT_USER()")
        raise GrantMissing(
            f"cannot restore into '{address}': {user} may not create databases, views, triggers",
            hint="restore as root, or as a login with ALL PRIVILEGES ON *.* WITH GRANT OPTION",
        )


def _require_packet(asking: Session, address: Address, request: RestoreRequest) -> None:
    allowed = ServerVersion.of(asking).max_allowed_packet
    for part in request.parts:
        found = part.details
        longest = found.longest_statement_bytes if isinstance(found, MysqlDatabase) else 0
        if longest and longest + HEAD_BYTES > allowed:
            raise RestoreFailed(
                f"cannot restore into '{address}': max_allowed_packet is {allowed} bytes, "
                f"the backup may hold statements of {longest}",
                hint="SET GLOBAL max_allowed_packet = 67108864",
            )


def _require_accounts(asking: Session, address: Address, request: RestoreRequest) -> None:
    known = {Account(*row) for row in asking.text("SELECT User, Host FROM mysql.user")}
    for part in request.parts:
        if isinstance(part.details, MysqlGrants):
            wanted = [Account(user, host) for user, host in part.details.accounts]
            absent = [
                str(account) for account in wanted if account not in known and not account.is_public
            ]
            if absent:
                raise RestoreFailed(
                    f"cannot restore the grants of '{address}': no account {', '.join(absent)}",
                    hint="create them, or pass --globals to restore them from the backup",
                )
