"""No value of any global variable changes what is restored.

Each is set to its worst values on the side that is read, and then on the side that is loaded.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.model.backup import Part
from holdfast.model.errors import RestoreFailed
from holdfast.ports.source import Source
from holdfast.sources.mysql.dump.source import MysqlToolsSource
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server.session_settings import SETTINGS
from tests.engine.mysql.conftest import mysql_server
from tests.engine.mysql.harmless_variables import HARMLESS
from tests.engine.mysql.rows_by_hand import content
from tests.engine.mysql.server_variables import OWN_CHOICE, REFUSING, WORST, known
from tests.engine.mysql.variables import LEFT_ALONE, Globals, variables
from tests.support.depth import by_turns, deep
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import SCRIPTS, MysqlServer, differences

ENGINES: dict[str, Callable[[str], Source]] = {
    "native": MysqlSource,
    "one dump": MysqlToolsSource,
    "dumps by table": lambda url: MysqlToolsSource(url, as_tables=True),
}
# Settings that once cost rows, definitions or a night; always tried alone.
NOTORIOUS = (
    "sql_select_limit",
    "max_join_size",
    "sql_require_primary_key",
    "explicit_defaults_for_timestamp",
    "autocommit",
    "sql_mode",
    "idle_transaction_timeout",
    "time_zone",
)
GROUP = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A database as we read it, and as stock tools do under the server's own settings."""

    server: MysqlServer
    database: str
    description: list[bytes]
    content: dict[str, str]
    parts: tuple[Part, ...]
    folder: Path
    settings: Globals

    def require_equal(self, copy: str, *, but_for_definitions: bool = False) -> None:
        assert content(self.server, copy) == self.content
        assert (
            but_for_definitions or differences(self.server.described(copy), self.description) == []
        )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Original]:
    folder = tmp_path_factory.mktemp("original")
    with mysql_server() as server, server.connect() as connection:
        database = server.database()
        server.load(database, (SCRIPTS / "worst.sql").read_bytes())
        yield Original(
            server=server,
            database=database,
            description=server.described(database),
            content=content(server, database),
            parts=keep(MysqlSource(server.url(database)), folder),
            folder=folder,
            settings=Globals(connection),
        )


def worst_values(original: Original) -> list[tuple[str, str]]:
    """Every variable that sessions take from the server, with each of its worst values."""
    return [
        (variable.name, value)
        for variable in variables(original.server)
        if variable.is_global and variable.name not in LEFT_ALONE
        for value in variable.worst(original.settings.now(variable.name))
    ]


def tried(original: Original, *, alone: bool | None = None) -> list[dict[str, str]]:
    """Settings to try one after the other, each `alone`, which is how it is in full depth.

    Else a dozen at once, and the notorious alone.
    """
    found = worst_values(original)
    each_alone = [{name: value} for name, value in found]
    some = [each for each in each_alone if next(iter(each)) in NOTORIOUS]
    together: list[dict[str, str]] = []
    for name, value in sorted(found, key=lambda each: zlib.crc32(repr(each).encode())):
        fitting = (each for each in together if name not in each and len(each) < GROUP)
        group = next(fitting, None)
        if group is None:
            together.append({name: value})
        else:
            group[name] = value
    if alone is None:
        alone = bool(deep(1, sample=0))
    return each_alone if alone else [*some, *together]


def test_every_variable_of_a_session_is_set_or_known_to_be_harmless(original: Original) -> None:
    names = {each.name for each in variables(original.server)}
    known = {each.name for settings in SETTINGS.values() for each in settings} | HARMLESS.keys()
    assert sorted(names - known) == []


def test_nothing_set_at_the_source_changes_what_is_read(original: Original, tmp_path: Path) -> None:
    failures = []
    for number, values in enumerate(tried(original)):
        engine = list(ENGINES)[number % len(ENGINES)]
        folder = tmp_path / str(number)
        folder.mkdir()
        with original.settings.set(values) as taken:
            if not taken:
                continue
            try:
                parts = read(ENGINES[engine](original.server.url(original.database)), folder)
            except Exception as error:  # noqa: BLE001  # all of them are told at once
                failures.append(f"{engine}, {values}: {error!r}")
                continue
        copy = original.server.name()
        failures += outcome(original, copy, parts, folder, f"{engine}, {values}")
        original.server.drop(copy)
    assert not failures, "\n".join(failures)


def read(source: Source, folder: Path) -> tuple[Part, ...]:
    assert [each.problem for each in source.check() if each.problem] == []
    assert len(source.plan().tables) == 9
    return keep(source, folder)


def outcome(
    original: Original, copy: str, parts: tuple[Part, ...], folder: Path, what: str
) -> list[str]:
    try:
        bring_back(MysqlTarget(original.server.url(copy)), parts, folder)
        original.require_equal(copy)
    except Exception as error:  # noqa: BLE001  # all of them are told at once
        return [f"{what}: {error!r}"]
    return []


def test_nothing_set_at_the_target_changes_what_is_loaded(original: Original) -> None:
    failures = []
    for values in tried(original):
        copy = original.server.name()
        with original.settings.set(values) as taken:
            if not taken:
                continue
            try:
                bring_back(MysqlTarget(original.server.url(copy)), original.parts, original.folder)
            except Exception as error:  # noqa: BLE001  # all of them are told at once
                failures.append(f"{values}: {error!r}")
                continue
        try:
            original.require_equal(copy)
        except AssertionError as error:
            failures.append(f"{values}: {error!r}")
        original.server.drop(copy)
    assert not failures, "\n".join(failures)


def only_of_the_server(original: Original) -> list[str]:
    """Variables that a server has and no session."""
    there = {name.lower() for name, _ in original.server.ask("mysql", "SHOW GLOBAL VARIABLES")}
    return sorted(there - {variable.name for variable in variables(original.server)})


def test_every_variable_of_a_server_is_tried_or_known_to_be_harmless(original: Original) -> None:
    assert [name for name in only_of_the_server(original) if not known(name)] == []


def test_nothing_that_only_a_server_has_changes_what_comes_back(
    original: Original, tmp_path: Path
) -> None:
    there = only_of_the_server(original)
    found = [(name, value) for name in WORST if name in there for value in WORST[name]]
    failures = []
    for number, (name, value) in enumerate(found):
        # In CI a third, on both sides at once.
        if (name, value) not in by_turns(found):
            continue
        folder, copy = tmp_path / str(number), original.server.name()
        folder.mkdir()
        with original.settings.set({name: value}) as taken:
            if not taken:
                continue
            try:
                parts = read(MysqlSource(original.server.url(original.database)), folder)
                bring_back(MysqlTarget(original.server.url(copy)), parts, folder)
            except Exception as error:  # noqa: BLE001  # all of them are told at once
                failures.append(f"{name} = {value}: {error!r}")
                continue
        try:
            original.require_equal(copy, but_for_definitions=name in OWN_CHOICE)
        except AssertionError as error:
            failures.append(f"{name} = {value}: {error!r}")
        original.server.drop(copy)
    assert not failures, "\n".join(failures)


def test_a_server_that_refuses_tables_is_told_with_the_table_and_the_way_out(
    original: Original,
) -> None:
    there = only_of_the_server(original)
    for name, (value, words) in REFUSING.items():
        if name not in there:
            continue
        copy = original.server.name()
        with original.settings.set({name: value}) as taken:
            if taken:
                with pytest.raises(RestoreFailed) as failure:
                    bring_back(
                        MysqlTarget(original.server.url(copy)), original.parts, original.folder
                    )
                assert words in f"{failure.value.message} {failure.value.hint}"
