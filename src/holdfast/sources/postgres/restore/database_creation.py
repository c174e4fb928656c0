"""How a database was created, as its backup has it, and what of that its copy does not share."""

from __future__ import annotations

import psycopg

from holdfast.model.backup import Part, PartKind
from holdfast.model.part_details import Details
from holdfast.ports.target import RestoreRequest
from holdfast.sources.postgres.restore import selection
from holdfast.sources.postgres.rows.part_plan import COLLATION_VERSION, CREATION, SERVER_VERSION
from holdfast.sources.postgres.server import database_properties
from holdfast.sources.postgres.server.database_properties import OPTIONS, PROVIDER, PROVIDERS, SPACE


def options(request: RestoreRequest) -> dict[str, str]:
    """They become part of a statement: only those that we write are taken."""
    details = _details(request)
    found = details.texts(CREATION, "{}") if details else {}
    provider = found.get(PROVIDER)
    if details and (found.keys() - OPTIONS or provider not in (None, *PROVIDERS.values())):
        raise details.wrong(CREATION)
    if not request.tablespaces:
        return {option: value for option, value in found.items() if option != SPACE}
    return found


def server_version(request: RestoreRequest) -> int:
    details = _details(request)
    return details.number(SERVER_VERSION, "0") if details else 0


def differences(session: psycopg.Connection, request: RestoreRequest) -> tuple[str, ...]:
    """What sorts or means text otherwise in the database of `session` than where it came from."""
    here = database_properties.creation_options(session)
    there = {name: value for name, value in options(request).items() if name != SPACE}
    notes = [
        f"the database stands already with {name} '{here.get(name, '')}'; the one that was backed"
        f" up has '{value}'"
        for name, value in there.items()
        if here.get(name) != value
    ]
    details = _details(request)
    kept = details.text(COLLATION_VERSION, "") if details else ""
    found = database_properties.collation_version(session)
    if kept and found and kept != found and not notes:
        notes.append(
            f"text is sorted by version {found} of the locale here, by version {kept} where it was"
            " backed up: indexes are built anew, but look at range partitions and checks over text"
        )
    return tuple(notes)


def _details(request: RestoreRequest) -> Details | None:
    found: list[Part] = selection.of_kind(request.parts, PartKind.PRE_DATA)
    found += selection.of_kind(request.parts, PartKind.ARCHIVE)
    return Details(found[0]) if found else None
