"""What a store answers in XML: flat, without entities, and never long."""

from __future__ import annotations

from xml.etree import ElementTree

# A thousand names of 1024 bytes, each of them written as %XX, and what is said beside them.
MOST_BYTES = 8 << 20
DEPTH = 8


class Unreadable(ValueError):
    """It is no answer of a store; the message says why."""


class _Flat(ElementTree.TreeBuilder):
    """A tree as deep as answers are; what declares types or entities is none of them."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str]) -> ElementTree.Element:
        self._depth += 1
        if self._depth > DEPTH:
            raise Unreadable(f"its answer is nested deeper than {DEPTH}")
        return super().start(tag, attrs)

    def end(self, tag: str) -> ElementTree.Element:
        self._depth -= 1
        return super().end(tag)

    def doctype(self, *_: object) -> None:
        raise Unreadable("its answer declares a type")


def parsed(text: bytes) -> ElementTree.Element:
    """Raises `Unreadable`."""
    if len(text) > MOST_BYTES:
        raise Unreadable(f"its answer is longer than {MOST_BYTES} bytes")
    parser = ElementTree.XMLParser(target=_Flat())  # noqa: S314 - a target that takes no entities
    try:
        parser.feed(text)
        document: ElementTree.Element = parser.close()
    except ElementTree.ParseError as error:
        raise Unreadable("its answer is no XML") from error
    return document
