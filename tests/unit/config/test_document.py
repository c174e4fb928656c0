"""The configuration as YAML: what cannot be a plain value is refused, with its line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.config import document
from holdfast.config.load import load
from holdfast.model.errors import ConfigInvalid
from tests.support.configs import JOB, refused, written


@pytest.mark.parametrize(
    "value",
    [
        f"0x{'f' * 5000}",
        f"-0b{'1' * 20_000}",
        "9" * 6000,
        "!!timestamp soon",
        "!!bool perhaps",
        "!!int ''",
        "!!float ''",
        "2020-99-99",
    ],
    ids=lambda value: value[:16],
)
@pytest.mark.parametrize("key", ["attempts", "nothing"])
def test_a_value_that_nothing_can_hold_is_refused_with_its_line(
    tmp_path: Path, key: str, value: str
) -> None:
    what, hint = refused(tmp_path, f"{JOB}    {key}: {value}\n")
    assert what.startswith("line 7: it holds an invalid value: ")
    assert hint == "put strings in quotes"


def test_keys_that_nothing_can_hold_are_refused_with_their_line(tmp_path: Path) -> None:
    what, _ = refused(tmp_path, f"{JOB}  ? 0x{'f' * 5000}\n  : {{}}\n")
    assert what.startswith("line 7: it holds an invalid value: a number of more than")


@pytest.mark.parametrize(
    "text",
    ['notify: {ops: {kind: ping, url: "https://h/\\ud800"}}', 'metrics_directory: "/a\\ud800"'],
    ids=["url", "path"],
)
def test_half_of_a_character_is_refused(tmp_path: Path, text: str) -> None:
    what, _ = refused(tmp_path, f"{text}\n{JOB}")
    assert "line 1: " in what
    assert "half of a character" in what


@pytest.mark.parametrize("merge", ["", "<<: "], ids=["lists", "merges"])
def test_aliases_that_stand_for_billions_of_values_are_refused_at_once(
    tmp_path: Path, merge: str
) -> None:
    lines = ["a0: &a0 {k: v}"]
    for step in range(1, 40):
        many = ", ".join([f"*a{step - 1}"] * 9)
        lines.append(f"a{step}: &a{step} " + (f"{{<<: [{many}]}}" if merge else f"[{many}]"))
    what, _ = refused(tmp_path, "\n".join(lines))
    assert what == "it holds over 1000000 values"


def test_anchors_and_merges_are_understood(tmp_path: Path) -> None:
    text = (
        JOB.replace("  shop:\n", "  shop: &base\n") + "  stock:\n    <<: *base\n    timeout: 5m\n"
    )
    jobs = load(written(tmp_path, text)).jobs
    assert jobs["stock"].source == jobs["shop"].source
    assert jobs["stock"].timeout == timedelta(minutes=5)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "holdfast.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigInvalid, match="not UTF-8"):
        load(path)


def test_yaml_that_would_make_python_objects_is_refused(tmp_path: Path) -> None:
    what, _ = refused(tmp_path, "jobs: !!python/object/apply:os.system ['true']\n")
    assert "could not determine a constructor" in what


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "it is nested too deeply"),
        ("[" * 3000 + "]" * 3000, "it is nested too deeply"),
        ("a: 2020-99-99", "an invalid value"),
        (f"a: {'9' * 6000}", "an invalid value"),
    ],
    ids=["open", "closed", "date", "number"],
)
def test_yaml_that_no_machine_can_hold_is_a_mistake_in_the_file(
    tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "holdfast.yaml"
    path.write_text(text)
    with pytest.raises(ConfigInvalid, match=why):
        load(path)


def test_keys_that_are_no_texts_are_told_with_their_line(tmp_path: Path) -> None:
    what, _ = refused(tmp_path, f"{JOB}    1: x\n    2026-11-30: y\n")
    assert "line 7: jobs.shop.1: keys should be strings" in what
    assert "line 8: jobs.shop.2026-11-30: keys should be strings" in what


def test_mistakes_of_one_key_are_told_in_the_same_order_each_time(tmp_path: Path) -> None:
    what, _ = refused(tmp_path, f"{JOB}    checksums: maybe\n    suspicion: [1]\n")
    lines = [line.strip() for line in what.splitlines()[1:]]
    assert lines == sorted(lines)
    assert len(lines) == 4


def test_yaml_that_contains_itself_is_refused(tmp_path: Path) -> None:
    what, _ = refused(tmp_path, "jobs: &a\n  shop: *a\nrepositories: {}\n")
    assert "jobs.shop" in what


def test_a_path_with_a_null_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "holdfast.yaml"
    path.write_text('repositories: {main: {kind: local, path: "/b\\0"}}\njobs: {}\n')
    with pytest.raises(ConfigInvalid, match="holds no null byte"):
        load(path)


READ_ALIKE = [
    "a: 1\nb: [x, {c: yes, d: 2001-01-01}]\n",
    "a: &here {b: 0x10, c: ~}\nd:\n  <<: *here\n  c: 1e3\non: off\n",
    "- one\n- - two\n  - 'it''s'\n- |\n  text\n   more\n- >-\n  folded\n  text\n",
    'dsn: "host=/run/postgresql dbname=shop"\nurl: mysql://me@db/shop?a=b\n',
    "\u00e9: \u2028\nx: {}\ny: []\nz:\n",
    "a: 1\na: 2\n",
    "a: [1\n",
    "a: \tb\n",
    "a: 2001-02-30\n",
    "a: !!python/object:os.system ls\n",
    "a: " + "9" * 5000,
    "a: b: c",
    "",
]


@pytest.mark.parametrize("text", READ_ALIKE, ids=[each[:20] for each in READ_ALIKE])
def test_the_parser_in_c_gives_what_the_other_one_gives(text: str) -> None:
    assert document.parse(text) == document._parsed(text, document._Loader)


def test_the_parser_in_c_reads_usual_files(monkeypatch: pytest.MonkeyPatch) -> None:
    if document._FastLoader is None:
        pytest.skip("this build of the library has none")
    monkeypatch.setattr(document, "_Loader", None)
    assert document.parse("jobs:\n  shop: {repository: main}\n").lines["jobs", "shop"] == 2


@pytest.mark.parametrize("deep", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000])
def test_depth_is_a_mistake_and_no_end_of_the_process(deep: str) -> None:
    (problem,) = document.parse(deep).problems
    assert problem.what == "it is nested too deeply"
