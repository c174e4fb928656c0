"""The options of `holdfast restore` are those that targets understand."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

from holdfast.cli.restore import restore_options
from holdfast.ports.target import WHOLE


def test_every_option_of_a_restore_can_be_asked_for_on_the_command_line() -> None:
    """Find a field of `RestoreOptions` that no option sets, and an option that sets no field."""
    options = inspect.signature(restore_options).parameters
    said: dict[str, Any] = {
        name: True if each.default is False else ["x"] for name, each in options.items()
    }
    everything = restore_options(**said)
    asked = [each.name for each in fields(WHOLE) if getattr(everything, each.name) != each.default]
    assert asked == [each.name for each in fields(WHOLE)]
    assert len(options) == len(asked)


def test_nothing_asked_for_is_the_whole_backup_as_it_was() -> None:
    assert restore_options() == WHOLE
