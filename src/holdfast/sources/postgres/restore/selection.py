"""What a restore is asked for, and what it takes from the backup for that.

That is parts, tables, and how the database was created.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg

from holdfast.model.backup import Member, Part, PartKind, Relation
from holdfast.model.errors import RestoreFailed
from holdfast.model.part_details import Details
from holdfast.model.restore import StoredParts
from holdfast.ports.run import Progress
from holdfast.ports.target import RestoreRequest
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.postgres.rows.part_plan import COLLATION_VERSION, CREATION, SERVER_VERSION
from holdfast.sources.postgres.server import database_properties
from holdfast.sources.postgres.server.database_properties import OPTIONS, PROVIDER, PROVIDERS, SPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreContext:
    """What every step of a restore needs: what is asked for, where it is stored, who is told of
    parts that are done, and what could not be made."""

    request: RestoreRequest
    stored: StoredParts
    progress: Progress
    failed: FailedObjects


def of_kind(parts: Sequence[Part], kind: PartKind) -> list[Part]:
    return [part for part in parts if part.kind is kind]


def data_parts(request: RestoreRequest) -> list[Part]:
    """The rows that were asked for; a partitioned table stands for its partitions.

    Raises `RestoreFailed` for a table that the backup does not hold.
    """
    parts = of_kind(request.parts, PartKind.DATA)
    if not request.tables:
        return parts
    known = {relation for part in parts for relation in part.relations}
    for relation in request.tables:
        if relation not in known:
            raise RestoreFailed(
                f"cannot restore table '{relation}': the backup does not hold its rows",
                hint="see the tables with: holdfast show BACKUP_ID",
            )
    wanted = set(request.tables)
    return [part for part in parts if wanted.intersection(part.relations)]


def is_wanted(of: Part | Member, request: RestoreRequest) -> bool:
    return not request.tables or not set(request.tables).isdisjoint(of.relations)


def pieces(parts: Sequence[Part]) -> Iterator[Part | Member]:
    """The tables, or ranges of tables, that the parts hold."""
    for part in parts:
        yield from part.members or (part,)


def filled_relations(request: RestoreRequest) -> set[Relation]:
    """Every table that has all of its rows once what is wanted is loaded."""
    every = list(pieces(of_kind(request.parts, PartKind.DATA)))
    filled = {relation for each in every if is_wanted(each, request) for relation in each.relations}
    return filled - {
        relation for each in every if not is_wanted(each, request) for relation in each.relations
    }


def creation_options(request: RestoreRequest) -> dict[str, str]:
    """They become part of a statement: only those that we write are taken."""
    details = _details(request)
    found = details.texts(CREATION, "{}") if details else {}
    provider = found.get(PROVIDER)
    if details and (found.keys() - OPTIONS or provider not in (None, *PROVIDERS.values())):
        raise details.wrong(CREATION)
    if not request.options.tablespaces:
        return {option: value for option, value in found.items() if option != SPACE}
    return found


def server_version(request: RestoreRequest) -> int:
    details = _details(request)
    return details.number(SERVER_VERSION, "0") if details else 0


def differences(session: psycopg.Connection, request: RestoreRequest) -> tuple[str, ...]:
    """What sorts or means text otherwise in the database of `session` than where it came from."""
    here = database_properties.creation_options(session)
    there = {name: value for name, value in creation_options(request).items() if name != SPACE}
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
    found: list[Part] = of_kind(request.parts, PartKind.PRE_DATA)
    found += of_kind(request.parts, PartKind.ARCHIVE)
    return Details(found[0]) if found else None
