"""What a package bundles: a bill of materials in CycloneDX JSON, and a list of licences."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from importlib.metadata import PathDistribution
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5
from zipfile import Path as ZipPath, ZipFile

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from release.source import Source

OWN = "MIT"
# Of classifiers the part that names the licence.
CLASSIFIER = "License :: OSI Approved :: "


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Bundled:
    """A library inside a package."""

    name: str
    version: str
    licence: str
    sha256: str


def bundled(wheels: Sequence[Path]) -> list[Bundled]:
    """What these wheels hold, in the order of their names."""
    return sorted(_read(wheel) for wheel in wheels)


def _read(wheel: Path) -> Bundled:
    with ZipFile(wheel) as archive:
        info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = PathDistribution(ZipPath(archive, f"{info.rpartition('/')[0]}/")).metadata
        return Bundled(
            name=metadata["Name"],
            version=metadata["Version"],
            licence=_licence(metadata),  # type: ignore[arg-type]  # its protocol is a subset
            sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        )


def _licence(metadata: Message) -> str:
    """The licence as an expression, or in the words of its authors."""
    classifiers = metadata.get_all("Classifier") or []
    named = [each.rpartition(CLASSIFIER)[2] for each in classifiers if CLASSIFIER in each]
    # Some write the whole text of the licence where its name belongs.
    words = str(metadata.get("License") or "").strip()
    short = words if words and "\n" not in words else ""
    return metadata.get("License-Expression") or short or ", ".join(named) or "unknown"


def bill(source: Source, name: str, found: Sequence[Bundled]) -> str:
    """The bill of package `name`, the same whenever it is written."""
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"holdfast/{name}/{source.version}/{source.epoch}")
    )
    bom.metadata.timestamp = datetime.fromtimestamp(source.epoch, UTC)
    own = Component(
        name="holdfast",
        version=source.version,
        type=ComponentType.APPLICATION,
        bom_ref="holdfast",
        licenses=[LicenseFactory().make_from_string(OWN)],
    )
    bom.metadata.component = own
    components = [_component(each) for each in found]
    bom.components.update(components)
    bom.dependencies.add(Dependency(own.bom_ref, [Dependency(each.bom_ref) for each in components]))
    bom.dependencies.update(Dependency(each.bom_ref) for each in components)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _component(each: Bundled) -> Component:
    return Component(
        name=each.name,
        version=each.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{each.name}=={each.version}",
        purl=PackageURL("pypi", name=each.name.lower(), version=each.version),
        licenses=[LicenseFactory().make_from_string(each.licence)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each.sha256)],
    )


def licences(found: Sequence[Bundled]) -> str:
    """One line for each library: its name, version and licence."""
    width = max(len(f"{each.name} {each.version}") for each in found)
    lines = [f"{f'{each.name} {each.version}'.ljust(width)}  {each.licence}" for each in found]
    return "\n".join([*lines, ""])
