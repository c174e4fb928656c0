"""Selects from a backup the parts, tables and creation options that a restore asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import psycopg

from holdfast.model.backup import Member, Part, PartKind, Relation
from holdfast.model.errors import RestoreFailed, VerifyFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import PostgresSchema
from holdfast.model.restore import StoredParts
from holdfast.ports.run import Progress
from holdfast.ports.target import RestoreRequest
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.packing import SMALL_TABLE_BYTES
from holdfast.sources.postgres.server import database_properties
from holdfast.sources.postgres.server.database_properties import OPTIONS, PROVIDER, PROVIDERS, SPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreContext:
    """What every step of a restore needs: the request, the stored parts, the progress report and
    the list of failed objects."""

    request: RestoreRequest
    stored: StoredParts
    progress: Progress
    failed: FailedObjects


def of_kind(parts: Sequence[Part], kind: PartKind) -> list[Part]:
    return [part for part in parts if part.kind is kind]


def data_parts(request: RestoreRequest) -> list[Part]:
    """The parts with the requested rows; a partitioned table stands for its partitions.

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
    """Every table that has all of its rows once the requested parts are loaded."""
    every = list(pieces(of_kind(request.parts, PartKind.DATA)))
    filled = {relation for each in every if is_wanted(each, request) for relation in each.relations}
    return filled - {
        relation for each in every if not is_wanted(each, request) for relation in each.relations
    }


def table_sizes(request: RestoreRequest) -> Counter[Relation]:
    """The bytes of rows that the backup holds of each table."""
    sizes: Counter[Relation] = Counter()
    for each in pieces(of_kind(request.parts, PartKind.DATA)):
        if each.relation is not None:
            sizes[each.relation] += each.plain_bytes
    return sizes


def packs_of_small(request: RestoreRequest) -> dict[Relation, str]:
    """The pack of each table with so few rows that work on many of them fits into one message.

    Empty for a table that has a part of its own.
    """
    sizes = table_sizes(request)
    return {
        each.relation: part.name if part.members else ""
        for part in of_kind(request.parts, PartKind.DATA)
        for each in pieces([part])
        if each.relation is not None and sizes[each.relation] < SMALL_TABLE_BYTES
    }


def large_relations(request: RestoreRequest) -> set[Relation]:
    """The tables with rows of their own that are not small."""
    sizes = table_sizes(request)
    return {relation for relation, size_bytes in sizes.items() if size_bytes >= SMALL_TABLE_BYTES}


def creation_options(request: RestoreRequest) -> dict[str, str]:
    """The options of `CREATE DATABASE` that the backup recorded.

    They become part of a statement, so unknown ones raise `VerifyFailed`.
    """
    found = _made(request).creation
    if found.keys() - OPTIONS or found.get(PROVIDER) not in (None, *PROVIDERS.values()):
        raise VerifyFailed(
            f"cannot trust 'creation', the properties of the database: {str(dict(found))[:60]}",
            hint="this backup is damaged: restore from another one",
        )
    wanted = found.keys() if request.options.tablespaces else found.keys() - {SPACE}
    return {option: value for option, value in found.items() if option in wanted}


def server_version(request: RestoreRequest) -> int:
    return _made(request).server_version_number


def differences(session: psycopg.Connection, request: RestoreRequest) -> tuple[str, ...]:
    """Notes on encoding and locale settings in which this database differs from the original."""
    here = database_properties.creation_options(session)
    there = {name: value for name, value in creation_options(request).items() if name != SPACE}
    notes = [
        f"the database exists already, with {name} '{here.get(name, '')}'; the backup has '{value}'"
        for name, value in there.items()
        if here.get(name) != value
    ]
    kept = _made(request).collation_version
    found = database_properties.collation_version(session)
    if kept and found and kept != found and not notes:
        notes.append(
            f"this server sorts text by version {found} of the locale, the original by"
            f" version {kept}: indexes are rebuilt, but check range partitions and constraints over"
            " text"
        )
    return tuple(notes)


def _made(request: RestoreRequest) -> PostgresSchema:
    """How the database was created; empty if no part records it."""
    found = (part.details for part in request.parts if isinstance(part.details, PostgresSchema))
    return next(found, PostgresSchema(creation={}))
