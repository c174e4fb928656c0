"""The checks of a host's health, and their verdicts."""

from pathlib import Path

from plugins.module_utils.server_health import checks_for, sick


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_everybody_with_a_socket_is_asked_and_a_lock_is_no_socket(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "run/postgresql/.s.PGSQL.5432",
        "run/postgresql/.s.PGSQL.5432.lock",
        "run/mysqld/mysqld.sock",
        "usr/bin/mariadb",
        "usr/local/bin/holdfast",
        "etc/holdfast/holdfast.yaml",
    )
    names = [check.name for check in checks_for(tmp_path, own=[["true", "x"]])]
    assert names == ["postgresql 5432", "mariadb", "holdfast check", "true x"]


def test_a_host_without_servers_has_nobody_to_ask(tmp_path: Path) -> None:
    assert checks_for(tmp_path, own=[]) == []


def test_only_what_was_well_before_can_be_sick_now() -> None:
    unwell = ["mariadb: gone away", "postgresql 5433: never was"]
    assert sick(["mariadb", "postgresql 5432"], well=[], unwell=unwell) == [
        "cannot call the host healthy: mariadb: gone away",
        "cannot call the host healthy: postgresql 5432 is gone",
    ]
    assert sick(["mariadb"], well=["mariadb"], unwell=unwell) == []
