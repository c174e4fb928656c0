from __future__ import annotations

import pytest

from holdfast.model.errors import ConfigInvalid
from holdfast.sources.postgres.server.login import Login

SECRET = "hunter2-secret"


def login(dsn: str, password: str | None = None) -> Login:
    return Login.parse(dsn, password=password, application_name="holdfast")


@pytest.mark.parametrize(
    "dsn",
    [
        f"host=db1 port=5433 dbname=shop user=holdfast password={SECRET}",
        f"postgresql://holdfast:{SECRET}@db1:5433/shop",
    ],
)
def test_a_password_in_the_string_is_taken_out_of_everything_that_shows(dsn: str) -> None:
    found = login(dsn)
    assert found.environment()["PGPASSWORD"] == SECRET
    assert SECRET not in found.conninfo()
    assert SECRET not in repr(found)
    assert (found.database, found.user, found.server) == ("shop", "holdfast", "db1:5433")


def test_a_password_given_apart_wins() -> None:
    assert login("password=old", password=SECRET).environment()["PGPASSWORD"] == SECRET


def test_a_malformed_string_is_refused_without_being_repeated() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        login(f"host=db1 passwort={SECRET}")
    assert SECRET not in caught.value.message + caught.value.hint
    assert "key=value" in caught.value.message


def test_an_awkward_database_name_survives_the_argument_list() -> None:
    found = login("host=db1").in_database("it's \\ odd=1")
    assert login(found.conninfo()).database == "it's \\ odd=1"


def test_what_the_operator_says_about_patience_wins() -> None:
    assert login("connect_timeout=3").settings["connect_timeout"] == "3"
    assert login("host=x").settings["connect_timeout"] == "10"


def test_the_database_is_called_like_the_user_unless_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PGDATABASE", raising=False)
    assert login("host=db1 user=me").database == "me"
