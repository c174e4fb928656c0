"""The first statement of the server's own programs."""

from __future__ import annotations

from holdfast.sources.mysql.dump.init_command import prepared_login
from holdfast.sources.mysql.server.address import Address
from holdfast.sources.mysql.server.client import login_options

LOCAL = Address.parse("mysql://u@localhost/d?unix_socket=/run/s", password="p")
REMOTE = Address.parse("mysql://u@db.example/d", password="p")


def test_mysqldump_has_an_option_for_it() -> None:
    assert prepared_login(LOCAL, "mysql", "SET a = 1") == {"init-command": "SET a = 1"}


def test_programs_of_mariadb_take_it_in_the_place_of_a_host() -> None:
    options = login_options(REMOTE, more=prepared_login(REMOTE, "mariadb", "SET a = 1, b = ''"))
    assert "host=\"host=db.example;init-command={SET a = 1, b = ''}\"" in options.splitlines()
    assert 'host="db.example"' not in options
    local = prepared_login(LOCAL, "mariadb", "SET a = 1")
    assert local == {"host": "host=localhost;init-command={SET a = 1}"}
