"""`python -m lab`: the command line of the throw-away hosts."""

import argparse
import sys
from pathlib import Path

from lab import fleet, hosts, images, machine
from lab.errors import LabError
from lab.vm import inventory, machines


def main(argv: list[str]) -> int:
    """Run a command, and turn an error into two lines and an exit code."""
    arguments = parser().parse_args(argv)
    try:
        machine.require_root()
        arguments.action(arguments)
    except LabError as error:
        hint = f"\nlab: hint: {error.hint}" if error.hint else ""
        sys.stderr.write(f"lab: {error}{hint}\n")
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of all commands and their arguments."""
    root = argparse.ArgumentParser(
        prog="lab", description="throw-away hosts for the demo and the tests"
    )
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("images", help="build the images that are missing or out of date")
    command.add_argument("names", nargs="*", metavar="NAME")
    command.set_defaults(action=build_images)

    command = commands.add_parser("image", help="print the tag of an image")
    command.add_argument("name", metavar="NAME")
    command.set_defaults(action=print_tag)

    for name, action, what in (
        ("up", bring_up, "start the hosts of an inventory"),
        ("down", take_down, "remove them"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("inventory", type=Path, metavar="INVENTORY_DIR")
        add_limit(command)
        command.set_defaults(action=action)

    vm = commands.add_parser("vm", help="the same with virtual machines").add_subparsers(
        required=True, metavar="COMMAND"
    )
    for name, act in (("up", machines.up), ("down", machines.down), ("reboot", machines.reboot)):
        command = vm.add_parser(name)
        command.add_argument("inventory", type=Path, metavar="INVENTORY_DIR")
        add_limit(command)
        command.set_defaults(action=on_machines, act=act)

    command = commands.add_parser("exec", help="run a command in a host")
    command.add_argument("inventory", type=Path, metavar="INVENTORY_DIR")
    command.add_argument("host", metavar="HOST")
    command.add_argument("argv", nargs="+", metavar="-- COMMAND")
    command.set_defaults(action=execute)
    return root


def add_limit(command: argparse.ArgumentParser) -> None:
    """Add `--limit`, which restricts a command to some hosts of the inventory."""
    command.add_argument(
        "--limit", type=lambda text: text.split(",") if text else [], default=[], metavar="HOST,..."
    )


def build_images(arguments: argparse.Namespace) -> None:
    """`images`."""
    here = machine.describe()
    machine.install_for_containers(here)
    images.build(images.by_name(arguments.names), here=here)


def print_tag(arguments: argparse.Namespace) -> None:
    """`image`."""
    (recipe,) = images.by_name([arguments.name])
    sys.stdout.write(f"{recipe.tag()}\n")


def bring_up(arguments: argparse.Namespace) -> None:
    """`up`."""
    hosts.up(fleet.read(arguments.inventory), limit=arguments.limit)


def take_down(arguments: argparse.Namespace) -> None:
    """`down`."""
    hosts.down(fleet.read(arguments.inventory), limit=arguments.limit)


def on_machines(arguments: argparse.Namespace) -> None:
    """`vm up`, `vm down`, `vm reboot`: one after another, since each needs the processor."""
    for virtual_machine in inventory.read(arguments.inventory, limit=arguments.limit):
        arguments.act(virtual_machine)


def execute(arguments: argparse.Namespace) -> None:
    """`exec`."""
    hosts.execute(fleet.read(arguments.inventory), host=arguments.host, argv=arguments.argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
