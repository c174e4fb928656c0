"""SSH keys made here, including the hosts' own: every host key is known before the first login."""

from pathlib import Path

from lab import command
from lab.state import KEY, fleet_folder


def login_key() -> Path:
    """The key that logs in to every throw-away host, created on demand."""
    return ensure_key(KEY, comment="holdfast lab")


def host_key(network: str, host: str) -> Path:
    """The key that a host presents, which survives `down` and `up`."""
    return ensure_key(fleet_folder(network) / "host-keys" / host, comment=host)


def ensure_key(path: Path, *, comment: str) -> Path:
    """Create an ed25519 key pair unless it exists."""
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
    """The file that Ansible checks host keys against."""
    return fleet_folder(network) / "known_hosts"


def write_known_hosts(network: str, names_by_address: dict[str, str]) -> None:
    """Write down the key of every host of a fleet."""
    lines = [
        f"{address} {public(host_key(network, name))}"
        for address, name in sorted(names_by_address.items())
    ]
    known_hosts_file(network).write_text("".join(lines))


def ssh_arguments(network: str, address: str, *, port: int = 22) -> list[str]:
    """An ssh login without prompts that trusts only keys made here."""
    return [
        *["ssh", "-F", "none", "-i", str(KEY), "-p", str(port)],
        *["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "StrictHostKeyChecking=yes"],
        *["-o", f'UserKnownHostsFile="{known_hosts_file(network)}"', f"root@{address}"],
    ]
