"""The manual pages hold every command and option, as roff that `man` renders."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from holdfast.cli.man_pages import main, pages
from tests.house.test_errors import error_classes
from tests.support.examples import commands, pairs

PAGES = pages()
# Found here, as PATH is empty inside a test.
GROFF = shutil.which("groff")
REQUESTS = {".TH", ".SH", ".PP", ".TP", ".RS", ".RE", ".nf", ".fi", ".nh", ".ad"}
ESCAPES = re.compile(r"\\(?:f[BIR]|[e&-]|\((?:aq|ga|ha|ti))")
SECTIONS = [
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "OPTIONS",
    "EXAMPLES",
    "EXIT STATUS",
    "FILES",
    "SEE ALSO",
]


def printed(roff: str) -> str:
    """What roff prints of a text, without its fonts."""
    for escape, character in {r"\-": "-", r"\(aq": "'", r"\(ga": "`", r"\&": ""}.items():
        roff = roff.replace(escape, character)
    return re.sub(r"\\f[BIR]", "", roff).replace(r"\(ha", "^").replace(r"\(ti", "~")


def sections(page: str) -> dict[str, str]:
    _, *found = re.split(r'^\.SH "(.*)"\n', page, flags=re.MULTILINE)
    return dict(zip(found[::2], found[1::2], strict=True))


def test_every_command_has_a_page_and_so_have_their_groups() -> None:
    own = {f"holdfast-{name.replace(' ', '-')}.1" for name, _ in commands()}
    groups = {f"holdfast-{name}.1" for name in ("config", "keys", "notify", "session", "wal")}
    assert PAGES.keys() == own | groups | {"holdfast.1"}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_a_title_and_all_sections_in_order(name: str) -> None:
    title, *_ = PAGES[name].splitlines()
    word = name.removesuffix(".1").upper().replace("-", r"\-")
    assert title.startswith(f'.TH "{word}" "1" "" "holdfast 0.')
    assert [each for each in sections(PAGES[name]) if each != "COMMANDS"] == SECTIONS
    (line,) = sections(PAGES[name])["NAME"].splitlines()
    assert printed(line).startswith(f"{name.removesuffix('.1')} - ")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_made_of_known_requests_and_escapes(name: str) -> None:
    lines = PAGES[name].splitlines()
    assert {each.split()[0] for each in lines if each.startswith(".")} <= REQUESTS
    assert [each for each in lines if not each.strip() or each.startswith("'")] == []
    assert [each for each in lines if "\\" in ESCAPES.sub("", each)] == []
    assert [each for each in lines if "-" in ESCAPES.sub("", each)] == [], "a hyphen, not a minus"
    for opened, closed in ((".nf", ".fi"), (".RS 4", ".RE")):
        assert lines.count(opened) == lines.count(closed)


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_a_page_names_every_option_and_shows_every_example(name: str, command: object) -> None:
    page = sections(PAGES[f"holdfast-{name.replace(' ', '-')}.1"])
    shown = printed(page["OPTIONS"]).splitlines()
    for each in command.params:  # type: ignore[attr-defined]
        names = each.opts if each.param_type_name == "option" else [each.metavar]
        assert [word for word in names if not any(word in line for line in shown)] == []
        assert each.help.split("\n")[0] in printed(page["OPTIONS"])
    lines = [line for _, line in pairs(command.examples)]  # type: ignore[attr-defined]
    assert [each for each in lines if each not in printed(page["EXAMPLES"])] == []


def test_the_first_page_tells_every_exit_code() -> None:
    told = re.findall(
        r"^\.TP\n\\fB(\d+)\\fR\n\S", sections(PAGES["holdfast.1"])["EXIT STATUS"], re.M
    )
    assert [int(each) for each in told] == sorted({0, 1, 2, *error_classes().values()})


def test_see_also_names_pages_that_exist() -> None:
    for page in PAGES.values():
        found = re.findall(r"(\S+)\(1\)", printed(sections(page)["SEE ALSO"]))
        assert found
        assert [each for each in found if f"{each}.1" not in PAGES] == []


def test_the_pages_are_written_into_a_folder(tmp_path: Path) -> None:
    assert main([str(tmp_path / "man1")]) == 0
    assert {path.name: path.read_text() for path in (tmp_path / "man1").iterdir()} == PAGES


def test_without_a_folder_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err == "usage: python -m holdfast.cli.man_pages FOLDER\n"


@pytest.mark.skipif(GROFF is None, reason="no groff on this host")
def test_groff_has_nothing_to_say_about_any_page(tmp_path: Path) -> None:
    main([str(tmp_path)])
    argv = [str(GROFF), "-man", "-Tascii", "-ww", "-z", *map(str, tmp_path.iterdir())]
    answer = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert answer.stderr == ""
