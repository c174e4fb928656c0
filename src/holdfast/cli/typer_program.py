"""The program as typer has it: help, completion, and every command line with a mistake."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import wraps
from importlib import import_module
from textwrap import indent
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from holdfast.cli.command_line import command_of
from holdfast.cli.completion import words_so_far
from holdfast.cli.context import session_of
from holdfast.cli.parameters import Argument, Group, Option, Run
from holdfast.cli.program import COMMANDS, loaded, options

EPILOG = "Exit codes: 0 means done; each kind of error has its own code (docs/errors.md)."


class _Failed(Exception):
    """Carries an error of a command past typer, which handles some itself and exits with 1."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _Commands(TyperGroup):
    """Passes on every error of a command; typer would take a lost connection for a closed pipe."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except Exception as error:
            raise _Failed(error) from error


class _Command(TyperCommand):
    """A command whose help ends with its examples (`epilog`), each on a line of its own.

    typer would fold an epilog to the width of the terminal, and a folded line cannot be copied.
    """

    def __init__(
        self,
        *arguments: Any,
        help: str | None,  # noqa: A002 - typer's name
        epilog: str | None,
        **options: Any,
    ) -> None:
        # One line per paragraph: typer would keep the line ends of a docstring on every terminal.
        paragraphs = (" ".join(each.split()) for each in (help or "").split("\n\n"))
        super().__init__(*arguments, help="\n\n".join(paragraphs), **options)
        self.examples = epilog or ""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, and tell the receivers of its job how it ended."""
        # Whatever the program itself was called as.
        above = f"{ctx.parent.info_name} " if ctx.parent and ctx.parent.parent else ""
        with session_of(ctx).telling(f"{above}{ctx.info_name}", ctx.params):
            return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, and the examples below it."""
        super().format_help(ctx, formatter)
        formatter.write(f"\nExamples:\n\n{indent(self.examples, '  ')}")


def program(arguments: list[str]) -> typer.Typer:
    """A typer program with the commands that `arguments` may call."""
    app = typer.Typer(
        name="holdfast",
        cls=_Commands,
        help="Make, verify and restore backups of PostgreSQL, MySQL and MariaDB.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_for_typer(options))
    for name in _wanted(arguments):
        command = loaded(name)
        if isinstance(command, Group):
            app.add_typer(_group(name, command), name=name)
        else:
            examples = import_module(command.__module__).EXAMPLES
            app.command(name, cls=_Command, epilog=examples)(_for_typer(command))
    return app


def run(arguments: list[str]) -> None:
    """Run what `arguments` ask for; raises the error of the command, and `SystemExit`."""
    try:
        program(arguments)(args=arguments)
    except _Failed as failed:
        error = failed.error
    else:
        return
    raise error


def _wanted(arguments: list[str]) -> Iterable[str]:
    """The requested command; all of them for help, or if no command has that name."""
    asked = command_of(arguments or words_so_far())
    return [asked] if asked in COMMANDS else COMMANDS


def _group(name: str, group: Group) -> typer.Typer:
    built = typer.Typer(name=name, help=group.help, no_args_is_help=True)
    for word, each in group.commands.items():
        built.command(word, cls=_Command, epilog=each.examples)(_for_typer(each.run))
    return built


def _for_typer(run: Run) -> Run:
    """`run`, with parameters that typer knows."""
    own = inspect.signature(run, eval_str=True)
    context, *others = own.parameters.values()
    parameters = [context.replace(annotation=typer.Context), *map(_parameter, others)]

    @wraps(run)
    def called(*context: Any, **values: Any) -> None:
        run(*context, **values)

    called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # known to inspect only
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def _parameter(declared: inspect.Parameter) -> inspect.Parameter:
    if get_origin(declared.annotation) is not Annotated:
        return declared
    kind, mark, *_ = get_args(declared.annotation)
    if isinstance(mark, Option):
        return declared.replace(
            annotation=Annotated[kind, typer.Option(*mark.names, **mark.settings)]
        )
    if isinstance(mark, Argument):
        return declared.replace(annotation=Annotated[kind, typer.Argument(**mark.settings)])
    return declared
