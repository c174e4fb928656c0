"""SSH keys made here, the hosts' own too: every host key is known before the first login."""

from pathlib import Path

from lab import command
from lab.state import KEY, fleet_folder


def login_key() -> Path:
    """The key that opens every throw-away host, made on demand."""
    return ensure_key(KEY, comment="holdfast lab")


def host_key(network: str, host: str) -> Path:
    """The key a host shows, kept over `down` and `up`."""
    return ensure_key(fleet_folder(network) / "host-keys" / host, comment=host)


def ensure_key(path: Path, *, comment: str) -> Path:
    """Make an ed25519 key pair unless it is there."""
    if path.exists():
        # ssh refuses a key that others may read, and a copied tree may have other modes.
        path.chmod(0o600)
    else:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        command.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    return path


def public(key: Path) -> str:
    """The public half of a key pair."""
    return key.with_name(f"{key.name}.pub").read_text()


def known_hosts_file(network: str) -> Path:
    """What Ansible checks host keys against."""
    return fleet_folder(network) / "known_hosts"


def write_known_hosts(network: str, names_by_address: dict[str, str]) -> None:
    """Write down the key of every host of a fleet."""
    lines = [
        f"{address} {public(host_key(network, name))}"
        for address, name in sorted(names_by_address.items())
    ]
    known_hosts_file(network).write_text("".join(lines))


def ssh_arguments(network: str, address: str, *, port: int = 22) -> list[str]:
    """A login that asks nothing and trusts only keys we made."""
    return [
        *["ssh", "-F", "none", "-i", str(KEY), "-p", str(port)],
        *["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "StrictHostKeyChecking=yes"],
        *["-o", f'UserKnownHostsFile="{known_hosts_file(network)}"', f"root@{address}"],
    ]
