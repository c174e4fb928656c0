"""Ansible module: answer, and say which system the host runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_answer
short_description: Answer, and say which system the host runs
description:
- Like C(ansible.builtin.ping), with the one fact that the playbooks need, as none gathers facts.
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Ask each host for an answer
  holdfast.holdfast.fleet_answer:
"""
RETURN = r"""
ping:
  description: Always C(pong).
  returned: always
  type: str
system:
  description: Name of the system, as os-release(5) has it.
  returned: always
  type: str
is_debian:
  description: Whether it is Debian, or derived from it.
  returned: always
  type: bool
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

FILES = (Path("/etc/os-release"), Path("/usr/lib/os-release"))


def system(text: str) -> tuple[str, bool]:
    """The name of the system, and whether it is a Debian, from the text of os-release(5)."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    known = {key.strip(): value.strip().strip("\"'") for key, _unused, value in pairs}
    kinds = {known.get("ID", ""), *known.get("ID_LIKE", "").split()}
    return known.get("NAME", "an unknown system"), "debian" in kinds


def main() -> None:
    """Answer at once."""
    module = AnsibleModule({}, supports_check_mode=True)
    file = next((path for path in FILES if path.is_file()), None)
    name, is_debian = system(file.read_text(errors="replace") if file else "")
    module.exit_json(changed=False, ping="pong", system=name, is_debian=is_debian)


if __name__ == "__main__":
    main()
