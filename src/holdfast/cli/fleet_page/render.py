"""The page as HTML: one file that loads nothing, and allows no script but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from holdfast.cli.fleet_page.view import PageView, script_json

PACKAGE = "holdfast.cli.fleet_page"
BUFFERED = 32


def page(view: PageView) -> Iterator[bytes]:
    """The page in pieces: it is never whole in memory."""
    stream = _template().stream(
        view=view,
        csp=policy(),
        style=_text("page.css"),
        script=_text("page.js"),
        first=f"{view.first_day}",
        json=script_json,
    )
    stream.enable_buffering(BUFFERED)
    for piece in stream:
        yield piece.encode(errors="replace")


def policy() -> str:
    """What a browser may do with the page: run and draw what its own two blocks say, no more."""
    return (
        f"default-src 'none'; script-src {_source('page.js')}; style-src {_source('page.css')};"
        " img-src data:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader(PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


@cache
def _text(name: str) -> str:
    return (files(PACKAGE) / "templates" / name).read_text(encoding="utf-8")


@cache
def _source(name: str) -> str:
    """The fingerprint of a block, as a browser computes it."""
    digest = hashlib.sha256(_text(name).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
