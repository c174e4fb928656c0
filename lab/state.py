"""Where the lab stores its files: all below `.lab`, which git ignores."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
STATE = PROJECT / ".lab"
LOGS = STATE / "logs"
TOOLS = STATE / "tools"
KEY = STATE / "ssh" / "id_ed25519"


def fleet_folder(network: str) -> Path:
    """The files of one fleet: known hosts, host keys, volumes."""
    return STATE / "fleets" / network
