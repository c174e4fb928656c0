"""`ansible-test sanity` on the installed collection, as a reviewer of collections runs it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from lab.state import STATE
from tests.support.depth import full
from tests.support.installed_collection import PROGRAMS, Installed, output_of, without_ansible

# Environments of pinned packages, which some of the tests make once.
HOME = STATE / "sanity"
# `ansible-test` would download the script of this name from a site of its own.
GET_PIP = HOME / ".ansible/test/cache/get_pip_24_2.py"
SCRIPT = "import ensurepip\n\nensurepip.bootstrap(default_pip=True)\n"
SANITY = (
    *("action-plugin-docs", "ansible-doc", "changelog", "compile", "empty-init", "ignores"),
    *("import", "line-endings", "no-assert", "no-get-exception", "no-illegal-filenames"),
    *("no-smart-quotes", "pep8", "pylint", "replace-urlopen", "runtime-metadata", "shebang"),
    *("symlinks", "use-argspec-type-path", "use-compat-six", "validate-modules", "yamllint"),
)
# They look at PowerShell and at shell scripts; the collection has neither.
WITHOUT_FILES = {"pslint", "shellcheck"}

pytestmark = pytest.mark.skipif(not full(), reason="pylint alone takes a minute: `full` runs it")


@pytest.fixture(scope="module")
def checked(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, because `ansible-test` writes into the collection."""
    root = tmp_path_factory.mktemp("sanity") / "ansible_collections/holdfast/holdfast"
    shutil.copytree(installed.root, root)
    GET_PIP.parent.mkdir(parents=True, exist_ok=True)
    GET_PIP.write_text(SCRIPT)
    return root


def ansible_test(root: Path, *words: str) -> str:
    # Other versions of Python in PATH would be taken for more targets, on some hosts only.
    own = without_ansible() | {
        "HOME": str(HOME),
        "PATH": f"{PROGRAMS}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
    }
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    return output_of(
        "ansible-test", "sanity", "--local", "--python", here, *words, cwd=root, env=own
    )


def test_every_test_of_this_release_is_run_or_has_nothing_to_look_at(checked: Path) -> None:
    told = ansible_test(checked, "--list-tests").split()
    assert set(told) == {*SANITY, *WITHOUT_FILES}
    assert not [path for path in checked.rglob("*") if path.suffix in {".ps1", ".sh"}]


@pytest.mark.parametrize("name", SANITY)
def test_it_is_clean(checked: Path, name: str) -> None:
    ansible_test(checked, "--color", "no", "--test", name)
