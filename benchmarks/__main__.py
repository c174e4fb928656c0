"""`python -m benchmarks`: measurements against stock tools, and others by their names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from benchmarks import (
    catalog,
    files,
    fleet,
    fleet_page,
    fleet_store,
    levels,
    stock_tools,
    upload,
)

OTHERS: Mapping[str, Callable[[list[str]], int]] = {
    "upload": upload.main,
    "catalog": catalog.main,
    "files": files.main,
    "fleet": fleet.main,
    "fleet-store": fleet_store.main,
    "fleet-page": fleet_page.main,
    "levels": levels.main,
}


def main(argv: list[str]) -> int:
    """One measurement: nothing else should run on the machine."""
    if argv and argv[0] in OTHERS:
        return OTHERS[argv[0]](argv[1:])
    return stock_tools.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
