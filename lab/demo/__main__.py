"""`python -m lab.demo`: the command line of the demo."""

import argparse
import sys
import time

from rich.console import Console

from lab import fleet, hosts, machine
from lab.demo.results import show
from lab.demo.stages import INVENTORY, Demo
from lab.errors import LabError

LEFT_UP = "the hosts are still up; ./scripts/demo down removes them"


def main(argv: list[str]) -> int:
    """Run the demo, or remove the hosts that an earlier one left."""
    arguments = parser().parse_args(argv)
    console = Console(highlight=False)
    try:
        machine.require_root()
        if arguments.what == "down":
            hosts.down(fleet.read(INVENTORY), limit=[])
        else:
            run(console, keep=arguments.keep)
    except LabError as error:
        console.print(f"[red]demo: {error}[/red]", markup=True, soft_wrap=True)
        if error.hint:
            console.print(f"hint: {error.hint}", markup=False, soft_wrap=True)
        if arguments.what == "up":
            console.print(LEFT_UP)
        return 1
    except KeyboardInterrupt:
        console.print(f"demo: interrupted; {LEFT_UP}")
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Tune four throw-away hosts, back their databases up by timer, "
        "verify every backup, restore and compare them.",
    )
    root.add_argument(
        "what", nargs="?", choices=["up", "down"], default="up", help="`down` removes a kept fleet"
    )
    root.add_argument("--keep", action="store_true", help="leave the hosts up at the end")
    return root


def run(console: Console, *, keep: bool) -> None:
    """Run all stages, show the table, and remove the hosts unless `keep` is set."""
    began = time.monotonic()
    demo = Demo(console)
    demo.run()
    show(list(demo.rows.values()), console)
    if keep:
        console.print(f"{LEFT_UP}; enter one: podman exec -it holdfast-demo-pg13 bash")
    else:
        hosts.down(fleet.read(INVENTORY), limit=[])
    console.print(f"done in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
