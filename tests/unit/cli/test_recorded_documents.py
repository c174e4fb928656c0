"""JSON documents and exit codes equal the recorded ones; texts for people may change.

`python -m tests.unit.cli.test_recorded_documents` records them again, after an intended change.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support.still_shop import Shop
from tests.support.terminal import terminal

RECORDED = Path(__file__).with_name("recorded_documents.json")
CALLS = (
    "plan shop",
    "backup shop",
    "list",
    "list shop",
    "show shop/latest",
    "verify shop/latest",
    "verify shop/latest --level quick",
    "verify shop --level ledger --budget 1m",
    "restore shop/latest --to postgresql:///shop_check",
    "restore shop/latest --list",
    "copy shop --to offsite",
    "windows shop",
    "du",
    "prune --dry-run",
    "repair --dry-run",
    "check",
    "status",
    "status --max-age 1h",
    "list shpo",
    "show shop/20261120T020000Z-00000000",
)
# Free space, and the size of manifests, whose format has its own version.
VARYING = {"free_bytes", "backup_bytes", "bytes", "sent_bytes"}


def answers(folder: Path) -> dict[str, Any]:
    """Each call's document and exit code, one after the other, an hour apart."""
    shop = Shop(folder)
    return {call: _answer(shop, call, timedelta(hours=number)) for number, call in enumerate(CALLS)}


def _answer(shop: Shop, call: str, at: timedelta) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out:
        run = shop.program(*call.split(), "--json", at=at)
        with terminal(run, columns=80, stdout=out.fileno()) as shown:
            code = shown.finish()
        out.seek(0)
        text = out.read().decode().replace(str(shop.folder), "/shop")
    return {"exit_code": code, "document": _steady(json.loads(text))}


def _steady(value: Any) -> Any:
    if isinstance(value, list):
        return [_steady(each) for each in value]
    if isinstance(value, dict):
        return {key: 0 if key in VARYING else _steady(each) for key, each in value.items()}
    # Texts for people inside a document: free space, and sizes in units.
    return re.sub(r"[0-9.]+ [KMG]?i?B ", "SIZE ", value) if isinstance(value, str) else value


def test_documents_and_exit_codes_are_those_that_were_recorded(tmp_path: Path) -> None:
    recorded = json.loads(RECORDED.read_text())
    found = answers(tmp_path / "shop")
    assert list(found) == list(recorded)
    for call, answer in found.items():
        assert answer == _steady(recorded[call]), call


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        text = json.dumps(answers(Path(name) / "shop"), indent=1, ensure_ascii=False)
    RECORDED.write_text(f"{text}\n")
    sys.stderr.write(f"recorded {RECORDED}\n")
