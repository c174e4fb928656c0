"""Recipes as values: the contents of an image, and a digest that shows when it is out of date."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.errors import LabError

RECIPES = Path(__file__).with_name("recipes.yml")
GUEST = Path(__file__).with_name("guest")
IMAGE_SCRIPTS = ("prepare", "install")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One image: a `suite` of Debian or a `parent` recipe, and packages on top."""

    name: str
    packages: tuple[str, ...]
    suite: str = ""
    parent: "Recipe | None" = None
    apt_options: tuple[str, ...] = ()

    def lineage(self) -> tuple["Recipe", ...]:
        """This recipe, preceded by all the recipes that it is built on."""
        return (*(self.parent.lineage() if self.parent else ()), self)

    @property
    def boots(self) -> bool:
        """Whether systemd is its first process; else a shell runs a plain server."""
        return any("systemd-sysv" in each.packages for each in self.lineage())

    def digest(self, *, scripts: Sequence[str] = IMAGE_SCRIPTS) -> str:
        """Changes whenever the recipe or our scripts change, but not when Debian's packages do."""
        content = json.dumps(asdict(self), sort_keys=True).encode()
        programs = b"".join((GUEST / script).read_bytes() for script in scripts)
        return hashlib.sha256(content + programs).hexdigest()[:12]

    def tag(self) -> str:
        """The image's full name in podman's store."""
        return f"localhost/holdfast/{self.name}:{self.digest()}"


def load(kind: str = "images", *, path: Path = RECIPES) -> dict[str, Recipe]:
    """Read the recipes of images or disks; in the file parents precede their children."""
    document = yaml.safe_load(path.read_text())
    recipes: dict[str, Recipe] = {}
    for name, entry in document[kind].items():
        recipes[name] = resolve(name, entry, sets=document["package_sets"], known=recipes)
    return recipes


def resolve(
    name: str, entry: dict[str, Any], *, sets: dict[str, list[str]], known: dict[str, Recipe]
) -> Recipe:
    """Build a recipe from one entry of the file."""
    if ("suite" in entry) == ("parent" in entry):
        raise LabError(f"cannot read recipe '{name}': it needs either a suite or a parent")
    return Recipe(
        name=name,
        packages=tuple(package for chosen in entry["sets"] for package in sets[chosen]),
        suite=entry.get("suite", ""),
        parent=known[entry["parent"]] if "parent" in entry else None,
        apt_options=tuple(entry.get("apt_options", ())),
    )


def find(name: str, recipes: dict[str, Recipe]) -> Recipe:
    """The recipe with that name; the error lists the existing names."""
    if name not in recipes:
        raise LabError(
            f"cannot find recipe '{name}': no such image",
            hint=f"there are {', '.join(sorted(recipes))}",
        )
    return recipes[name]
