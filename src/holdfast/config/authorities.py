"""Files of certificates that a configuration names: looked at before a store is asked anything."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.model.errors import ConfigInvalid

_BEGIN = b"-----BEGIN CERTIFICATE-----"


def require_authorities(path: Path) -> Path:
    """`path`, where it holds certificates in PEM; raises `ConfigInvalid`."""
    import ssl  # where it is used: it takes longer to load than the settings themselves

    try:
        content = path.read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise _no_certificate(path) from error
    except OSError as error:
        raise ConfigInvalid(
            f"cannot read ca_file '{path}': {os.strerror(error.errno or 0)}",
            hint="it names the certificates, in PEM, of whom signed the store's",
        ) from error
    if _BEGIN not in content:
        raise _no_certificate(path)
    return path


def _no_certificate(path: Path) -> ConfigInvalid:
    return ConfigInvalid(
        f"cannot use ca_file '{path}': it holds no certificate in PEM",
        hint=f"of one in DER make one: openssl x509 -inform der -in {path} -out {path}.pem",
    )
