"""Recipes become podman images: a base of Debian packages, and database servers in layers on it."""

import shlex
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import command, machine, recipes
from lab.container import limit_arguments
from lab.errors import attempting
from lab.locks import only_one
from lab.machine import Machine
from lab.progress import say
from lab.recipes import GUEST, Recipe
from lab.state import LOGS, STATE

STORE = Path("/var/lib/containers")
LOCK = Path("/run/lock/holdfast-lab-images.lock")
NEEDED_MEBIBYTES = 6144
AT_ONCE = 2


def build(wanted: Sequence[Recipe], *, here: Machine) -> None:
    """Build the missing images, those of one generation side by side."""
    # The image store belongs to the machine: two clones of the project may want the same image.
    with only_one(LOCK):
        lacking = [recipe for recipe in wanted if not exists(recipe)]
        if not lacking:
            return
        machine.require_space(STORE, mebibytes=NEEDED_MEBIBYTES)
        generations: dict[int, dict[str, Recipe]] = {}
        for recipe in (ancestor for each in lacking for ancestor in each.lineage()):
            generations.setdefault(len(recipe.lineage()), {})[recipe.name] = recipe
        with ThreadPoolExecutor(AT_ONCE) as builders:
            for _, generation in sorted(generations.items()):
                for _ in builders.map(lambda recipe: make(recipe, here=here), generation.values()):
                    pass


def exists(recipe: Recipe) -> bool:
    """Whether podman has an image with exactly this content."""
    return command.succeeds(["podman", "image", "exists", recipe.tag()])


def make(recipe: Recipe, *, here: Machine) -> None:
    """Build one image unless it exists."""
    if exists(recipe):
        return
    say(f"image {recipe.name}: building ({len(recipe.packages)} packages)")
    began = time.monotonic()
    log = LOGS / f"image-{recipe.name}.log"
    with attempting("build image", recipe.name):
        if recipe.parent:
            add_layer(recipe, recipe.parent, here=here, log=log)
        else:
            import_base(recipe, log=log)
    say(f"image {recipe.name}: built in {time.monotonic() - began:.0f} s")


def import_base(recipe: Recipe, *, log: Path) -> None:
    """Unpack Debian packages into a root file system and import it into podman."""
    archive = STATE / "build" / f"{recipe.name}.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    try:
        command.run_logged(
            mmdebstrap_arguments(
                recipe, scripts=["prepare"] if recipe.boots else [], target=archive
            ),
            log=log,
        )
        command.run(
            [
                "podman",
                "import",
                "--quiet",
                "--change",
                'CMD ["/sbin/init"]',
                str(archive),
                recipe.tag(),
            ]
        )
    finally:
        archive.unlink(missing_ok=True)


def mmdebstrap_arguments(recipe: Recipe, *, scripts: Sequence[str], target: Path) -> list[str]:
    """The arguments of mmdebstrap.

    Without a mirror it uses Debian's, with updates and security.
    """
    inside = [f'chroot "$1" sh -s < {shlex.quote(str(GUEST / script))}' for script in scripts]
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={option}" for option in recipe.apt_options),
        *(f"--customize-hook={hook}" for hook in inside),
        recipe.suite,
        str(target),
    ]


def add_layer(recipe: Recipe, parent: Recipe, *, here: Machine, log: Path) -> None:
    """Install the packages in a container of the parent image and commit the difference."""
    builder = f"holdfast-build-{recipe.name}"
    command.run(["podman", "rm", "--force", "--ignore", builder])
    script = (GUEST / "install").read_bytes()
    try:
        command.run_logged(
            [
                *[
                    "podman",
                    "run",
                    "--interactive",
                    f"--name={builder}",
                    "--network=host",
                    *limit_arguments(here),
                ],
                *[f"--runtime={here.runtime}", parent.tag(), "sh", "-s", "--", *recipe.packages],
            ],
            log=log,
            feed=script,
        )
        command.run(
            ["podman", "commit", "--quiet", "--change", 'CMD ["/sbin/init"]', builder, recipe.tag()]
        )
    finally:
        command.run(["podman", "rm", "--force", "--ignore", builder])


def by_name(names: Sequence[str]) -> list[Recipe]:
    """The recipes with these names, or all of them without names."""
    known = recipes.load()
    return [recipes.find(name, known) for name in names] or list(known.values())
