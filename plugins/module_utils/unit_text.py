"""Text of systemd units: escaped words, and a unit derived from another one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

# Directives that belong to the job alone: what it runs, and which units it triggers. Every command
# may leave named pipes, so what releases them is not the job's alone.
OWN_TO_THE_JOB = re.compile(
    r"(Exec(?!StopPost=\S+ -m holdfast\.runtime\.named_pipes$)\w+"
    r"|Type|OnFailure|OnSuccess|SuccessExitStatus|TimeoutStartSec|TimeoutSec"
    r"|Standard(Input|Output|Error)|SyslogIdentifier)="
)
# Directives that a command needs even if it runs as root, outside the sandbox.
SECRETS = re.compile(
    r"(Load|Set|Import)Credential\w*=|Environment(File)?=|PassEnvironment=|UnsetEnvironment="
)
_SECTION = re.compile(r"\[(?P<name>\w+)\]\s*$")
_PLAIN = re.compile(r"[A-Za-z0-9_@:,./+=-]+")


def word(text: str, *, command: bool = False) -> str:
    """`text` as one word of a directive that takes several, with blanks and specifiers escaped.

    In a `command` line a dollar begins a variable, so it is escaped too. systemd.syntax(7),
    systemd.unit(5).
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if command:
        escaped = escaped.replace("$", "$$")
    return escaped if _PLAIN.fullmatch(text) else f'"{escaped}"'


def words(texts: Iterable[str], *, command: bool = False) -> str:
    """`texts` as the words of one directive."""
    return " ".join(word(text, command=command) for text in texts)


def directives(text: str, section: str) -> Iterator[str]:
    """The directives of one section, each with its continuation lines."""
    current, held = "", ""
    for line in text.splitlines():
        found = _SECTION.match(line)
        if found and not held:
            current = found["name"]
            continue
        if not held and (not line.strip() or line.lstrip().startswith(("#", ";"))):
            continue
        held += line if not held else f"\n{line}"
        if not line.endswith("\\"):
            if current == section:
                yield held
            held = ""
    if held and current == section:
        yield held


def sibling(texts: Sequence[str], argv: Sequence[str], *, output: str, as_root: bool) -> str:
    """A unit that runs `argv` with the settings of another one, given as fragment and drop-ins.

    Its output goes to `output`.out and `output`.err. With `as_root` only the secrets and the
    environment of the service are kept.
    """
    unit = [line for text in texts for line in directives(text, "Unit")]
    service = [line for text in texts for line in directives(text, "Service")]
    kept = [
        line
        for line in service
        if (SECRETS.match(line) if as_root else not OWN_TO_THE_JOB.match(line))
    ]
    lines = [
        "[Unit]",
        *(line for line in unit if not OWN_TO_THE_JOB.match(line)),
        "[Service]",
        *kept,
        "Type=oneshot",
        # The caller decides how long to wait.
        "TimeoutStartSec=infinity",
        f"ExecStart={words(argv, command=True)}",
        # Not `truncate:`: systemd opens both again for ExecStopPost=, and would empty them.
        f"StandardOutput=append:{word(f'{output}.out')}",
        f"StandardError=append:{word(f'{output}.err')}",
    ]
    return "\n".join(lines) + "\n"
