"""What the SQL of a backup tries in a drill reaches no file of production or the repository."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.runtime.isolation import has_isolation
from tests.support.drills import bad_rows, drill_folder
from tests.support.installation import Installation
from tests.support.postgres_server import PostgresServer

ATTACK = """
CREATE FUNCTION wrote(place text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('COPY (SELECT 1) TO %L', place);
    RETURN 'written';
EXCEPTION WHEN OTHERS THEN RETURN SQLERRM;
END $$;
CREATE FUNCTION saw(place text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN 'read ' || length(pg_read_file(place));
EXCEPTION WHEN OTHERS THEN RETURN SQLERRM;
END $$;
"""
TRIED = """
CREATE MATERIALIZED VIEW tried AS
SELECT wrote('{data}/hostile') AS to_data, saw('{data}/PG_VERSION') AS of_data,
       wrote('{repository}/hostile') AS to_repository
"""
FILE = "hostile"


@pytest.fixture
def attack(server: PostgresServer, tmp_path: Path) -> Iterator[tuple[Installation, list[Path]]]:
    """A job whose backup attacks files when it is restored; and the files that it would make."""
    if not has_isolation(None):
        pytest.skip("this host forbids namespaces of a user")
    name = server.database(ATTACK)
    installation = Installation(tmp_path, {"kind": "postgres", "dsn": server.conninfo(name)})
    installation.repository.mkdir(exist_ok=True)
    ((data,),) = server.ask(name, "SHOW data_directory")
    made = [Path(str(data)) / FILE, installation.repository / FILE]
    server.run(name, TRIED.format(data=data, repository=installation.repository))
    assert server.ask(name, "SELECT to_data, of_data FROM tried") == [("written", "read 3")]
    # The server itself made them: it is the drill's turn now.
    for path in made:
        path.unlink()
    with drill_folder(installation):
        installation.run("backup", "shop")
        yield installation, made


def test_a_restored_database_reads_and_writes_no_file_of_production(
    attack: tuple[Installation, list[Path]],
) -> None:
    installation, made = attack
    installation.job["drill"]["checks"] = [
        {"sql": "SELECT to_data LIKE '%Read-only file system' FROM tried", "name": "write"},
        {"sql": "SELECT of_data LIKE '%No such file or directory' FROM tried", "name": "read"},
        {"sql": "SELECT to_repository LIKE '%Read-only file system' FROM tried", "name": "store"},
        # A check may call functions, too.
        {"sql": "SELECT saw(to_data) NOT LIKE 'read%' FROM tried", "name": "asked"},
    ]
    (drill,) = installation.run("drill", "shop")["drills"]
    assert (bad_rows(drill), drill["problem"], drill["findings"]) == ([], None, [])
    assert [path for path in made if path.exists()] == []


# A materialized view may fill no temporary table.
RAN = """
CREATE TABLE public.answers (line text);
CREATE FUNCTION ran(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
    EXECUTE format('COPY public.answers FROM PROGRAM %L', command);
    SELECT string_agg(line, ' ') INTO found FROM public.answers;
    DELETE FROM public.answers;
    RETURN found;
EXCEPTION WHEN OTHERS THEN RETURN SQLERRM;
END $$;
"""
SECRET = "geheim-wert"
# As the drill's user, in whose processes and files the secret is.
SOUGHT = (
    "cat {files} /proc/[0-9]*/environ /proc/[0-9]*/root{files} 2>/dev/null"
    " | grep -c --text " + SECRET
)
STOLEN = """
CREATE MATERIALIZED VIEW stolen AS
SELECT saw('{key}') AS by_function, ran('cat {key}') AS by_program, ran('{sought}') AS found,
       ran('ls {state} {repository} {credentials} | wc -l') AS listed
"""


@pytest.fixture
def thief(server: PostgresServer, tmp_path: Path) -> Iterator[Installation]:
    """A job whose backup reads the keys of the host when it is restored."""
    if not has_isolation(None):
        pytest.skip("this host forbids namespaces of a user")
    name = server.database(ATTACK + RAN)
    installation = Installation(tmp_path, {"kind": "postgres", "dsn": server.conninfo(name)})
    key, credentials = tmp_path / "signing.key", tmp_path / "credentials"
    installation.run("keys", "signing", str(key))
    credentials.mkdir()
    (credentials / "db").write_text(SECRET)
    store = installation.settings["repositories"]["main"]
    store["authentication"] = {"key_file": str(key)}
    sought = SOUGHT.format(files=credentials / "db")
    places = {"state": tmp_path / "state", "repository": installation.repository}
    places |= {"key": key, "credentials": credentials}
    server.run(name, STOLEN.format(sought=sought, **places))
    ((by_function, by_program, found),) = server.ask(
        name, "SELECT by_function, by_program, found FROM stolen"
    )
    # The server of production has the same user here: what it reads a drill could read, too.
    assert str(by_function).startswith("read ")
    assert "PRIVATE KEY" in str(by_program)
    assert int(str(found)) > 0
    with drill_folder(installation):
        installation.run("backup", "shop")
        yield installation


def test_a_restored_database_gets_no_key_of_the_host(thief: Installation) -> None:
    thief.job["drill"]["checks"] = [
        {"sql": "SELECT by_function LIKE 'read 0%' FROM stolen", "name": "function"},
        {"sql": "SELECT by_program IS NULL FROM stolen", "name": "program"},
        # `grep` counts none and fails; the error holds its status.
        {"sql": "SELECT found LIKE '%failed%' FROM stolen", "name": "processes"},
        {"sql": "SELECT listed = '5' FROM stolen", "name": "folders"},
    ]
    environment = {"CREDENTIALS_DIRECTORY": str(thief.folder / "credentials"), "WORD": SECRET}
    (drill,) = thief.run("drill", "shop", environment=environment)["drills"]
    assert (bad_rows(drill), drill["problem"], drill["findings"]) == ([], None, [])
