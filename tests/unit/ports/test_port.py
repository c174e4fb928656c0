"""Ports as base classes: required methods, defaults, wrappers, and misspelt names."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass

import pytest

import holdfast.sources
from holdfast.model.backup import Buffer, Member, Part, PartPlan, Relation
from holdfast.ports.port import Port, declared
from holdfast.ports.source import CompressionStage, ForwardingStream, PartStream
from holdfast.ports.target import Target
from tests.fakes.source import FakeSnapshot, FakeSource


class Lamp(Port, ABC):
    """Something that is lit, and may be dimmed."""

    @abstractmethod
    def light(self) -> str: ...

    def dim(self) -> str:
        """Not every lamp can."""
        return "as bright as ever"


class Candle(Lamp):
    """One that cannot be dimmed."""

    def light(self) -> str:
        return "lit"


def test_what_an_implementation_does_not_say_is_the_default() -> None:
    assert (Candle().light(), Candle().dim()) == ("lit", "as bright as ever")


def test_a_misspelt_method_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match="'Bulb' has 'dimm', which none of its bases declares"):

        class Bulb(Candle):
            def dimm(self) -> str:
                return "dark"


def test_so_are_a_misspelt_property_and_one_of_a_dataclass_with_slots() -> None:
    with pytest.raises(TypeError, match="'memmo'"):

        class Stream(ForwardingStream):
            @property
            def memmo(self) -> str:
                return "seen"


def test_a_source_with_a_misspelt_ability_is_no_source() -> None:
    with pytest.raises(TypeError, match="'Changes' has 'after_'"):

        class Changes(FakeSource):
            def after_(self) -> FakeSource:
                return self

    with pytest.raises(TypeError, match="'Cluster' has 'closing_part'"):

        class Cluster(FakeSnapshot):
            def closing_part(self, stored: Sequence[Part]) -> Sequence[PartPlan]:
                del stored
                return ()


def test_helpers_of_a_class_begin_with_an_underscore_and_need_no_leave() -> None:
    class Dimmer(Candle):
        def _turn(self) -> str:
            return "darker"

        def dim(self) -> str:
            return self._turn()

    assert Dimmer().dim() == "darker"


def test_what_a_second_base_promises_is_no_mistake() -> None:
    class Watch:
        def tick(self) -> None: ...

    class WatchWithLight(Candle, Watch):
        def tick(self) -> None: ...

    assert isinstance(WatchWithLight(), Lamp)


def test_an_implementation_without_a_required_method_cannot_be_made() -> None:
    class Folder(Target):
        """One without `restore`."""

        name = "a folder"

    with pytest.raises(TypeError, match="restore"):
        Folder()  # type: ignore[abstract]  # as it should be


def implementations(port: type = Port) -> Iterator[type]:
    """All ports of this program, those of its sources included."""
    for module in pkgutil.walk_packages(holdfast.sources.__path__, "holdfast.sources."):
        importlib.import_module(module.name)
    waiting = [port]
    while waiting:
        found = waiting.pop()
        yield from found.__subclasses__()
        waiting += found.__subclasses__()


def test_no_field_of_a_dataclass_has_a_property_of_its_port_for_a_default() -> None:
    """`dataclasses` takes it for one unless the field says `field()`, and nothing is required."""
    found = [
        f"{each.__qualname__}.{field.name}"
        for each in implementations()
        if is_dataclass(each)
        for field in fields(each)
        if isinstance(field.default, property)
    ]
    assert found == []


def not_forwarded(wrapper: type, port: type) -> set[str]:
    """The methods that `wrapper` leaves to the defaults of its port."""
    required = set(getattr(port, "__abstractmethods__", ()))
    return ({*declared(port)} | required) - set(vars(wrapper))


@pytest.mark.parametrize(
    "wrapper",
    [each for each in implementations() if each.__name__.startswith("Forwarding")],
    ids=lambda wrapper: wrapper.__name__,
)
def test_a_wrapper_forwards_all_of_its_port(wrapper: type) -> None:
    (port,) = [each for each in wrapper.__bases__ if Port in each.__bases__]
    assert not_forwarded(wrapper, port) == set()


def test_a_method_that_a_port_gets_and_its_wrapper_does_not_forward_is_found() -> None:
    class ForwardingLamp(Lamp):
        def __init__(self, lamp: Lamp) -> None:
            self._lamp = lamp

        def light(self) -> str:
            return self._lamp.light()

    assert not_forwarded(ForwardingLamp, Lamp) == {"dim"}


class Compressor:
    """Leaves everything as it is."""

    def feed(self, chunk: Buffer) -> Iterator[Buffer]:
        yield chunk

    def finish(self) -> Iterator[Buffer]:
        yield b""


class WholeStream(PartStream):
    """A stream with every ability, each different from the default."""

    rows = 7
    members = (Member(relation=Relation(schema="shop", name="t"), rows=7, offset=0, plain_bytes=1),)
    memo = "seen"
    checksum = "rows:7"
    compression: CompressionStage = Compressor()

    def __init__(self) -> None:
        self.closed = 0

    def __iter__(self) -> Iterator[Buffer]:
        yield b"rows"

    def close(self) -> None:
        self.closed += 1


def test_what_is_forwarded_is_that_of_the_stream_behind_it() -> None:
    whole = WholeStream()
    wrapped = ForwardingStream(whole)
    assert set(declared(PartStream)) <= set(vars(WholeStream))
    assert list(wrapped) == [b"rows"]
    for name in set(declared(PartStream)) - {"close"}:
        assert getattr(wrapped, name) is getattr(whole, name)
    wrapped.close()
    assert whole.closed == 1
