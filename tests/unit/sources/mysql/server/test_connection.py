from __future__ import annotations

import pytest

from holdfast.model.errors import ConfigInvalid
from holdfast.sources.mysql.server.connection import Address, login_options


def test_every_part_of_an_address_is_decoded() -> None:
    address = Address.parse("mysql://a%40b:p%2Fw@db.example:3307/my%20shop?unix_socket=/run/x.sock")
    assert (address.user, address.password, address.host) == ("a@b", "p/w", "db.example")
    assert (address.port, address.database) == (3307, "my shop")
    assert address.unix_socket == "/run/x.sock"


def test_a_password_given_apart_wins_and_none_is_ever_shown() -> None:
    address = Address.parse("mysql://u:old@h/d", password="new-secret")
    assert address.password == "new-secret"
    assert str(address) == "u@h:3306/d"
    assert "secret" not in repr(address)


def test_the_address_of_a_whole_server_names_no_database() -> None:
    address = Address.parse("mysql://u@h", whole_server=True)
    assert (address.host, address.database) == ("h", "")


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("postgres://u:secret@h/d", "begins with none of"),
        ("mysql://u:secret@h/", "names no database"),
        ("mysql://h/d", "names no user"),
        ("mysql://u:secret@h/d?sokket=/x", "'sokket' is not one of"),
        ("mysql://u:secret@h:many/d", "port is not a number"),
    ],
)
def test_a_wrong_address_says_what_is_wrong_without_its_password(url: str, cause: str) -> None:
    with pytest.raises(ConfigInvalid, match=cause) as failure:
        Address.parse(url)
    assert "secret" not in failure.value.message
    assert failure.value.hint.startswith("mysql://")


def test_a_password_reaches_the_client_with_every_character_kept() -> None:
    address = Address.parse("mysql://u@h/d?unix_socket=/run/s", password='a"b\\c#d\ne f ')
    assert 'password="a"b\\\\c#d\\ne f "' in login_options(address).splitlines()


def test_a_socket_is_preferred_and_a_ca_is_proven() -> None:
    over_socket = login_options(Address.parse("mysql://u@h/d?unix_socket=/run/s"))
    assert 'protocol="socket"' in over_socket
    with_ca = login_options(Address.parse("mysql://u@h:3307/d?ssl_ca=/etc/ca.pem"))
    assert 'port="3307"' in with_ca
    assert 'ssl-ca="/etc/ca.pem"' in with_ca
    assert "verify" not in with_ca
