"""`holdfast config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.context import JsonOption, acting_session_of, print_document
from holdfast.cli.parameters import Group

commands = Group(help="Check a configuration file.")

# Typer must not check the path (`readable=False`): our own error has a code and a hint.
File = Annotated[Path, typer.Argument(help="The file to check.", metavar="FILE", readable=False)]


EXAMPLES = """\
# Check the installed configuration
holdfast config check /etc/holdfast/holdfast.yaml

# Its jobs and repositories as JSON
holdfast config check /etc/holdfast/holdfast.yaml --json
"""


@commands.command(examples=EXAMPLES)
def check(context: typer.Context, file: File, *, as_json: JsonOption = False) -> None:
    """Check the configuration in FILE, and show every mistake with its line.

    No database and no repository is touched.
    """
    from holdfast.config.load import check_file  # heavy, as in `Session`

    checked = check_file(file)
    jobs, repositories = list(checked.settings.jobs), list(checked.settings.repositories)
    if as_json:
        content = {
            "file": str(file),
            "jobs": jobs,
            "repositories": repositories,
            "notes": list(checked.notes),
        }
        print_document("config-check", content)
        return
    session = acting_session_of(context)
    session.say(f"'{file}' can be used: jobs {', '.join(jobs) or 'none'}")
    for note in checked.notes:
        session.say(f"note: {note}")
