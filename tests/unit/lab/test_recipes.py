"""Recipes: read whole, and fingerprinted by everything that shapes the image."""

from dataclasses import replace
from pathlib import Path

import pytest

from lab import recipes
from lab.errors import LabError
from lab.recipes import Recipe

BASE = Recipe(name="debian-13", suite="trixie", packages=("systemd", "sudo"))
LAYER = Recipe(name="debian-13-postgres", parent=BASE, packages=("postgresql",))


def test_every_recipe_of_the_project_can_be_read() -> None:
    images = recipes.load()
    assert {name: recipe.parent.name for name, recipe in images.items() if recipe.parent} == {
        "debian-12-postgres": "debian-12",
        "debian-12-postgres-mariadb": "debian-12-postgres",
        "debian-12-mariadb": "debian-12",
        "debian-12-mariadb-peers": "debian-12-mariadb",
        "debian-13-postgres": "debian-13",
        "debian-13-postgres-mariadb": "debian-13-postgres",
        "debian-13-postgres-peers": "debian-13-postgres",
        "debian-13-mariadb": "debian-13",
        "debian-sid-postgres": "debian-sid",
        "debian-sid-mysql": "debian-sid",
    }
    assert {"linux-image-cloud-amd64", "openssh-server"} <= set(
        recipes.load("disks")["vm-debian-13"].packages
    )


@pytest.mark.parametrize(
    "changed",
    [
        replace(LAYER, packages=("postgresql", "postgresql-contrib")),
        replace(LAYER, apt_options=('Acquire::Check-Valid-Until "false"',)),
        replace(LAYER, parent=replace(BASE, packages=("systemd",))),
        replace(LAYER, parent=replace(BASE, suite="bookworm")),
    ],
    ids=["packages", "apt options", "parent's packages", "parent's suite"],
)
def test_whatever_shapes_an_image_changes_its_tag(changed: Recipe) -> None:
    assert changed.tag() != LAYER.tag()


def test_an_unchanged_recipe_keeps_its_tag() -> None:
    assert replace(LAYER).tag() == LAYER.tag()
    assert LAYER.tag().startswith("localhost/holdfast/debian-13-postgres:")


def test_only_an_image_with_systemd_boots() -> None:
    images = recipes.load()
    assert images["debian-13-postgres"].boots
    assert not images["debian-sid-postgres"].boots


def test_a_lineage_begins_with_the_oldest_ancestor() -> None:
    assert [recipe.name for recipe in LAYER.lineage()] == ["debian-13", "debian-13-postgres"]


@pytest.mark.parametrize("origin", ["", "suite: trixie, parent: base, "])
def test_a_recipe_needs_exactly_one_origin(tmp_path: Path, origin: str) -> None:
    file = tmp_path / "recipes.yml"
    file.write_text(f"package_sets: {{host: []}}\nimages: {{odd: {{{origin}sets: [host]}}}}\n")
    with pytest.raises(LabError, match="cannot read recipe 'odd': it needs either a suite or a"):
        recipes.load(path=file)


def test_an_unknown_recipe_is_answered_with_the_known_ones() -> None:
    with pytest.raises(LabError) as caught:
        recipes.find("debian-11", {"debian-13": BASE, "debian-12": BASE})
    assert str(caught.value) == "cannot find recipe 'debian-11': no such image"
    assert caught.value.hint == "there are debian-12, debian-13"
