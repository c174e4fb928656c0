"""Properties of a database itself, which no dump of its definitions holds.

Locale and encoding are needed to create it. Owner, comment, settings, grants and the positions of
its sequences are stored as SQL for psql. There `:"DBNAME"` is the name of the restored database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg

from holdfast.model.backup import Buffer, Relation
from holdfast.sources.postgres.server.sql_text import identifier, literal, qualified

_HERE = "datname = current_database()"
# Which columns hold the locale changes with the server's version, so the row comes as JSON.
_LOCALE = f"SELECT to_jsonb(d) FROM pg_database d WHERE {_HERE}"  # noqa: S608  # constants only
_COLLATION_VERSION = f"""
SELECT coalesce(pg_database_collation_actual_version(oid), '') FROM pg_database WHERE {_HERE}
"""  # noqa: S608  # constants only
# The first version that reports it.
KNOWS_COLLATION_VERSION = 150000
_SPACE = f"""
SELECT s.spcname::text FROM pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace
WHERE {_HERE}
"""  # noqa: S608  # constants only
_TEMPLATE = f"SELECT datistemplate FROM pg_database WHERE {_HERE}"  # noqa: S608  # constants only
# The settings of all roles in all databases, which pg_dumpall omits.
_OF_EVERYBODY = """
SELECT split_part(config.said, '=', 1), substr(config.said, strpos(config.said, '=') + 1)
FROM pg_db_role_setting s, unnest(s.setconfig) WITH ORDINALITY AS config (said, position)
WHERE s.setdatabase = 0 AND s.setrole = 0 ORDER BY config.position
"""
_OWNED = f"""
SELECT pg_get_userbyid(datdba)::text, shobj_description(oid, 'pg_database'), datconnlimit,
       datacl IS NOT NULL
FROM pg_database WHERE {_HERE}
"""  # noqa: S608  # constants only
_GRANTS = f"""
SELECT acl.privilege_type, acl.is_grantable,
       CASE WHEN acl.grantee = 0 THEN NULL ELSE pg_get_userbyid(acl.grantee)::text END
FROM pg_database, aclexplode(datacl) AS acl WHERE {_HERE}
ORDER BY acl.grantee, acl.privilege_type
"""  # noqa: S608  # constants only
_SETTINGS = f"""
SELECT CASE WHEN s.setrole = 0 THEN NULL ELSE pg_get_userbyid(s.setrole)::text END,
       split_part(config.said, '=', 1), substr(config.said, strpos(config.said, '=') + 1)
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase,
     unnest(s.setconfig) WITH ORDINALITY AS config (said, position)
WHERE {_HERE} ORDER BY s.setrole, config.position
"""  # noqa: S608  # constants only

# The server stores these as lists of quoted names: quoted as one string they would become one name.
_LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}
_HEADER = "SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n"
LIBC = "libc"
PROVIDERS = {"c": LIBC, "i": "icu", "b": "builtin"}
PROVIDER = "LOCALE_PROVIDER"
SPACE = "TABLESPACE"
DEFAULT_SPACE = "pg_default"
_LOCALES = {"LC_COLLATE", "LC_CTYPE", "ICU_LOCALE", "BUILTIN_LOCALE", "ICU_RULES"}
OPTIONS = {"ENCODING", PROVIDER, SPACE, *_LOCALES}

SEQUENCES_PER_QUERY = 200
_EMPTY_PATH = "SELECT pg_catalog.set_config('search_path', '', false);\n"


def creation_options(connection: psycopg.Connection) -> dict[str, str]:
    """The options of CREATE DATABASE that create an equal database, by name."""
    row = connection.execute(_LOCALE).fetchone()
    found: dict[str, object] = row[0] if row else {}
    encoding = connection.execute("SELECT pg_encoding_to_char(%s)", [found["encoding"]]).fetchone()
    options = {
        "ENCODING": str(encoding[0]) if encoding else "UTF8",
        "LC_COLLATE": str(found["datcollate"]),
        "LC_CTYPE": str(found["datctype"]),
    }
    # Always given: the default is that of the target's template0, which may sort differently.
    provider = PROVIDERS[str(found.get("datlocprovider", "c"))]
    options[PROVIDER] = provider
    if provider != LIBC:
        locale = found.get("datlocale") or found.get("daticulocale")
        options[f"{provider.upper()}_LOCALE"] = str(locale)
        if found.get("daticurules"):
            options["ICU_RULES"] = str(found["daticurules"])
    space = connection.execute(_SPACE).fetchone()
    if space and space[0] != DEFAULT_SPACE:
        options[SPACE] = str(space[0])
    return options


def collation_version(connection: psycopg.Connection) -> str:
    """The version of the locale by which this database sorts text; empty if unknown."""
    if connection.info.server_version < KNOWS_COLLATION_VERSION:
        return ""
    row = connection.execute(_COLLATION_VERSION).fetchone()
    return str(row[0]) if row else ""


def settings_of_everybody(connection: psycopg.Connection) -> bytes:
    """SQL for the settings of all roles, to follow pg_dumpall's output; empty if none."""
    lines = [
        f"ALTER ROLE ALL SET {_setting(name)} TO {_value(name, value)};\n"
        for name, value in connection.execute(_OF_EVERYBODY)
    ]
    return "".join(lines).encode()


def statements(connection: psycopg.Connection) -> Iterator[bytes]:
    lines = [*_ownership(connection), *_grants(connection), *_settings(connection)]
    template = connection.execute(_TEMPLATE).fetchone()
    if template and template[0]:
        lines.append('ALTER DATABASE :"DBNAME" IS_TEMPLATE true')
    yield (_HEADER + "".join(f"{line};\n" for line in lines)).encode()


def _ownership(connection: psycopg.Connection) -> Iterator[str]:
    row = connection.execute(_OWNED).fetchone()
    if row is None:
        return
    owner, comment, limit, _ = row
    yield f'ALTER DATABASE :"DBNAME" OWNER TO {identifier(owner)}'
    if comment is not None:
        yield f'COMMENT ON DATABASE :"DBNAME" IS {literal(comment)}'
    if limit >= 0:
        yield f'ALTER DATABASE :"DBNAME" CONNECTION LIMIT {limit}'


def _grants(connection: psycopg.Connection) -> Iterator[str]:
    row = connection.execute(_OWNED).fetchone()
    if row is None or not row[3]:
        return
    yield 'REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC'
    for privilege, is_grantable, grantee in connection.execute(_GRANTS):
        to = "PUBLIC" if grantee is None else identifier(grantee)
        option = " WITH GRANT OPTION" if is_grantable else ""
        yield f'GRANT {privilege} ON DATABASE :"DBNAME" TO {to}{option}'


def _settings(connection: psycopg.Connection) -> Iterator[str]:
    for role, name, value in connection.execute(_SETTINGS):
        subject = (
            'DATABASE :"DBNAME"'
            if role is None
            else f'ROLE {identifier(role)} IN DATABASE :"DBNAME"'
        )
        yield f"ALTER {subject} SET {_setting(name)} TO {_value(name, value)}"


def _setting(name: str) -> str:
    """An extension's setting has a dot, which must stay outside the quotes."""
    return ".".join(identifier(word) for word in name.split("."))


def _value(name: str, value: str) -> str:
    if name.lower() in _LISTS and value not in ("", '""'):
        return value
    return literal("" if value == '""' else value)


def sequence_statements(
    connection: psycopg.Connection, relations: Sequence[Relation]
) -> Iterator[Buffer]:
    """SQL that sets the positions of sequences.

    Sequences ignore snapshots: their positions are read now, so they are never behind the rows.
    """
    yield (_HEADER + _EMPTY_PATH).encode()
    for first in range(0, len(relations), SEQUENCES_PER_QUERY):
        batch = relations[first : first + SEQUENCES_PER_QUERY]
        found = connection.execute(_positions(batch).encode()).fetchall()
        lines = [
            _setval(batch[number], last_value, is_called=is_called)
            for number, last_value, is_called in found
        ]
        yield "".join(lines).encode()


def _positions(batch: Sequence[Relation]) -> str:
    # The view pg_sequences hides a position that was set but not used yet.
    return " UNION ALL ".join(
        f"SELECT {number}, last_value, is_called FROM {qualified(relation)}"  # noqa: S608  # names are quoted
        for number, relation in enumerate(batch)
    )


def _setval(relation: Relation, last_value: int, *, is_called: bool) -> str:
    called = "true" if is_called else "false"
    return f"SELECT pg_catalog.setval({literal(qualified(relation))}, {last_value}, {called});\n"
