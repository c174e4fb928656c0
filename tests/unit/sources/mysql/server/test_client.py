from __future__ import annotations

from holdfast.sources.mysql.server.client import login_options
from holdfast.sources.mysql.server.connection import Address


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
