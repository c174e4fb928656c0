"""Corrupt one object of a repository, or one file of a host's state."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Placeholders for texts that no JSON writer would produce.
DEEP, DIGITS, TWICE = "@@deep@@", "@@digits@@", "@@twice@@"
SPELT = {
    f'"{DEEP}"': "[" * 100_000 + "]" * 100_000,
    f'"{DIGITS}"': "9" * 6_000,
    f'"{TWICE}"': '{"a": 1, "a": 2}',
}
ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    -(1 << 40),
    (1 << 63) - 1,
    1 << 63,
    1 << 200,
    0.5,
    -0.0,
    1e300,
    float("nan"),
    float("inf"),
    "",
    " ",
    "\0",
    "\ud800",
    "x" * 100_000,
    "a\nb\x1b[31m",
    "../../outside/untouched",
    "/etc/passwd",
    "0-",
    "-5--3",
    "9" * 40,
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-11-20T02:00:00",
    "2026-11-20T02:00:00Z",
    "FFFFFFFF/FFFFFFFF",
    "0/0",
    "FFFFFFFF",
    "none",
    "age",
    "xz",
    "postgres-cluster",
    [],
    {},
    [[]],
    {"a": {"b": []}},
    ["x"] * 20_000,
    [{}] * 5_000,
    DEEP,
    DIGITS,
    TWICE,
]
Mutation = Callable[[Path, random.Random], None]


def replaced(path: Path, content: bytes) -> None:
    """Replace the file, never overwrite it: other names may be links to it."""
    path.unlink()
    path.write_bytes(content)


def _bytes(path: Path, rng: random.Random) -> None:
    """Flip bits, cut holes, insert junk or truncate."""
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content) + 1)
    length = rng.choice([1, 2, 8, 100, len(content)])
    junk = rng.choice([b"\0", b"\xff", b"[", b'"', b"{", b"\\", b" ", b"9", rng.randbytes(9)])
    how = rng.randrange(6)
    if how == 0 and content:
        content[at % len(content)] ^= 1 << rng.randrange(8)
    elif how == 1:
        del content[at:]
    elif how == 2:
        content[at:at] = junk * length
    elif how == 3:
        content[at : at + length] = junk * min(length, len(content) - at)
    elif how == 4:
        content[at:at] = content[: rng.randrange(1, 5000)]
    else:
        del content[at : at + length]
    replaced(path, bytes(content))


def _other_content(path: Path, rng: random.Random) -> None:
    content = rng.choice(
        [
            b"",
            b"null",
            b"[]",
            b"{}",
            b"\xef\xbb\xbf{}",
            b"[" * 200_000,
            b'{"a":' * 100_000,
            b'"' + b"x" * 3_000_000,
            b"[" + b"0," * 500_000 + b"0]",
            b"[" + b"{}," * 500_000 + b"{}]",
            b" " * 5_000_000,
            rng.randbytes(10_000),
            '{"a": 1}'.encode("utf-16"),
        ]
    )
    replaced(path, content)


def _sparse(path: Path, rng: random.Random) -> None:
    content = rng.choice([b"", path.read_bytes(), b'{"a": "'])
    replaced(path, content)
    os.truncate(path, 3 << 30)


def _swapped(path: Path, rng: random.Random) -> None:
    """Replace it with the content of another object of the same store."""
    below = path.parents[len(path.parents) - 1]
    for folder in path.parents:
        if folder.name in ("repository", "state"):
            below = folder
            break
    others = sorted(each for each in below.rglob("*") if each.is_file() and each != path)
    replaced(path, rng.choice(others).read_bytes())


def _no_file(path: Path, rng: random.Random) -> None:
    """Replace it with something that is no regular file, or remove it."""
    path.unlink()
    how = rng.randrange(6)
    if how == 0:
        path.mkdir()
        (path / "manifest.json").write_text("{}")
    elif how == 1:
        os.mkfifo(path)
    elif how == 2:
        path.symlink_to("/dev/zero")
    elif how == 3:
        path.symlink_to(path.name)
    elif how == 4:
        here = Path.cwd()
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name[:90])
        os.chdir(here)
    # Otherwise nothing replaces it.


def _moved(path: Path, rng: random.Random) -> None:
    """Copy or move it to a place where it does not belong."""
    root = next(each for each in path.parents if each.name in ("repository", "state"))
    job = rng.choice(["shop", "other", "shop.wal", "_leases", "_slots", "nobody"])
    name = rng.choice(
        [
            "20261101T020000Z-0000000f",
            "99991231T235959Z-ffffffff",
            "blobs",
            "latest",
            "parts",
            "77",
            "x" * 200,
            "a\nb",
            "\udcff",
            "..x",
        ]
    )
    file = rng.choice([path.name, "manifest.json", "failed.json", "pruned", "9" * 16, "parts/x"])
    if job == "other" or (root / job / name / file).exists():
        job = "shop"
    there = root / job / name / file
    if there.exists() or there == path:
        return
    there.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, there)
    if rng.random() < 0.3:
        path.unlink()


def _json(path: Path, rng: random.Random) -> None:
    """Change some values of an otherwise valid document, and recompute its own fingerprint."""
    lines = path.read_text().split("\n") if path.suffix == ".jsonl" else [path.read_text()]
    which = rng.randrange(len(lines))
    try:
        document = json.loads(lines[which])
    except ValueError:
        _bytes(path, rng)
        return
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        _change(document, rng)
    for name in ("manifest", "file"):
        if isinstance(document, dict) and name in document and rng.random() < 0.95:
            document["sha256"] = _fingerprint(document[name])
    text = json.dumps(document, indent=None if len(lines) > 1 else 1)
    for stand_in, spelt in SPELT.items():
        text = text.replace(stand_in, spelt)
    lines[which] = text
    replaced(path, "\n".join(lines).encode())


def _fingerprint(body: object) -> str:
    canonical = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()


def _change(document: Any, rng: random.Random) -> None:
    places = list(_places(document))
    if not places:
        return
    holder, key = rng.choice(places)
    how = rng.random()
    if how < 0.15:
        del holder[key]
    elif how < 0.3:
        other, name = rng.choice(places)
        holder[key] = json.loads(json.dumps(other.get(name) if isinstance(other, dict) else other))
    elif how < 0.35 and isinstance(holder, list):
        holder += holder[: 1 + rng.randrange(3)]
    elif how < 0.4 and isinstance(holder, dict):
        holder[rng.choice(["", "x", "signature", "schema", "parent"])] = rng.choice(ODD)
    elif how < 0.5 and isinstance(holder[key], int | float):
        holder[key] = holder[key] * rng.choice([-1, 2, 10**6]) + rng.choice([-1, 0, 1])
    elif how < 0.6 and isinstance(holder[key], str):
        holder[key] = _text(holder[key], rng)
    else:
        holder[key] = rng.choice(ODD)


def _text(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return rng.choice(
        [
            text[:at],
            text[at:] + text[:at],
            text.upper(),
            text.replace("shop", "other"),
            text.replace("/parts/", "/../"),
            text[:at] + rng.choice("\0/.-9\ud800{") + text[at:],
        ]
    )


def _places(document: Any) -> Any:
    if isinstance(document, dict):
        for key, value in document.items():
            yield document, key
            yield from _places(value)
    elif isinstance(document, list):
        for at, value in enumerate(document):
            yield document, at
            yield from _places(value)


OF_JSON: list[tuple[Mutation, int]] = [(_json, 12), (_bytes, 3), (_other_content, 2)]
OF_ANY: list[tuple[Mutation, int]] = [
    (_bytes, 6),
    (_other_content, 3),
    (_sparse, 1),
    (_swapped, 3),
    (_no_file, 3),
    (_moved, 4),
]


def mutate(path: Path, rng: random.Random) -> str:
    """Apply a random mutation to `path`; returns its description."""
    is_json = path.suffix in (".json", ".jsonl", ".lock") or path.parent.name == "shop"
    chosen = OF_JSON + OF_ANY if is_json else OF_ANY
    (mutation,) = rng.choices([each for each, _ in chosen], [weight for _, weight in chosen])
    mutation(path, rng)
    return f"{mutation.__name__.strip('_')} of {path.name}"
