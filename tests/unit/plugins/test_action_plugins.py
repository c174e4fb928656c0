"""An action plugin is documented by a module of its name: what that says must be what it parses."""

from __future__ import annotations

from importlib import import_module

import pytest
import yaml

from lab.state import PROJECT

NAMES = sorted(path.stem for path in (PROJECT / "plugins/action").glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_each_option_is_documented_as_it_is_parsed(name: str) -> None:
    options = yaml.safe_load(import_module(f"plugins.modules.{name}").DOCUMENTATION)["options"]
    told = {
        option: {key: value for key, value in about.items() if key != "description"}
        for option, about in options.items()
    }
    assert told == import_module(f"plugins.action.{name}").ARGUMENTS


@pytest.mark.parametrize("name", NAMES)
def test_its_example_passes_what_is_required_and_nothing_unknown(name: str) -> None:
    parsed = import_module(f"plugins.action.{name}").ARGUMENTS
    required = {option for option, about in parsed.items() if about.get("required")}
    for task in yaml.safe_load(import_module(f"plugins.modules.{name}").EXAMPLES):
        passed = set(task[f"holdfast.holdfast.{name}"])
        assert required <= passed <= set(parsed)
