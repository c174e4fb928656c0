"""Where the lab keeps what it made: all below `.lab`, which git ignores."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
STATE = PROJECT / ".lab"
LOGS = STATE / "logs"
KEY = STATE / "ssh" / "id_ed25519"


def fleet_folder(network: str) -> Path:
    """What belongs to one fleet only: known hosts, host keys, volumes."""
    return STATE / "fleets" / network
