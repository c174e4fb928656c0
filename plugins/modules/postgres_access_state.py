"""Ansible module: find which PostgreSQL clusters of a host lack the backup's access."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_access_state
short_description: Find which PostgreSQL clusters lack the backup's access
description:
- Only reads. For each cluster it asks for the missing statements, looks for our blocks in the
  access files, and logs in as the backup's own user.
- A cluster that gave no clear answer counts as lacking, and the tasks of the role say why.
options:
  server_user:
    description: The server's own user.
    type: str
    required: true
  os_user:
    description: The user that backups run as.
    type: str
    required: true
  clusters:
    description: The clusters, each with C(port) and C(socket_directory).
    type: list
    elements: dict
    required: true
  psql:
    description: The command psql without a server.
    type: list
    elements: str
    required: true
  as_server:
    description: The command that runs another one as the server's user.
    type: list
    elements: str
    required: true
  as_backup:
    description: The same for the backup's user.
    type: list
    elements: str
    required: true
  plan:
    description: SQL that returns the missing statements, and its arguments.
    type: dict
    required: true
  proof:
    description: SQL that returns the rights of the backup's role, and its arguments.
    type: dict
    required: true
  rights:
    description: What the proof has to return.
    type: dict
    required: true
  blocks:
    description: Our lines of C(hba_file) and of C(ident_file).
    type: dict
    required: true
  marker:
    description: The marker of our blocks, with C({mark}) for BEGIN and END.
    type: str
    required: true
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Find clusters that lack the access
  holdfast.holdfast.postgres_access_state:
    server_user: postgres
    os_user: holdfast
    clusters: [{port: 5432, socket_directory: /run/postgresql}]
    psql: [psql, --no-psqlrc]
    as_server: [setpriv, --reuid=postgres]
    as_backup: [setpriv, --reuid=holdfast]
    plan: {sql: "...", arguments: []}
    proof: {sql: "...", arguments: []}
    rights: {role: holdfast}
    blocks: {hba_file: "...", ident_file: "..."}
    marker: "# {mark} holdfast"
"""
RETURN = r"""
users:
  description: Those of the two users that exist.
  returned: always
  type: list
  elements: str
unconfigured:
  description: The clusters that lack statements or lines.
  returned: always
  type: list
  elements: dict
is_proven:
  description: Whether the backup's user has exactly the wanted rights in every cluster.
  returned: always
  type: bool
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.accounts import exists

ARGUMENTS: dict[str, dict[str, Any]] = {
    "server_user": {"type": "str", "required": True},
    "os_user": {"type": "str", "required": True},
    "clusters": {"type": "list", "elements": "dict", "required": True},
    "psql": {"type": "list", "elements": "str", "required": True},
    "as_server": {"type": "list", "elements": "str", "required": True},
    "as_backup": {"type": "list", "elements": "str", "required": True},
    "plan": {"type": "dict", "required": True},
    "proof": {"type": "dict", "required": True},
    "rights": {"type": "dict", "required": True},
    "blocks": {"type": "dict", "required": True},
    "marker": {"type": "str", "required": True},
}


def has_block(text: str, block: str, *, marker: str) -> bool:
    """Whether the text has our block once, with exactly these lines."""
    begin, end = (marker.replace("{mark}", word) for word in ("BEGIN", "END"))
    lines = text.splitlines()
    if lines.count(begin) != 1 or lines.count(end) != 1:
        return False
    return lines[lines.index(begin) + 1 : lines.index(end)] == block.splitlines()


def main() -> None:
    """Answer with the clusters that need work, and whether the others are proven."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    asked = module.params
    users = [name for name in (asked["server_user"], asked["os_user"]) if exists(name)]
    if asked["server_user"] not in users:
        module.exit_json(changed=False, users=users, unconfigured=[], is_proven=False)
    lacking = [cluster for cluster in asked["clusters"] if not _is_configured(module, cluster)]
    proven = (
        not lacking
        and asked["os_user"] in users
        and all(_is_proven(module, cluster) for cluster in asked["clusters"])
    )
    module.exit_json(changed=False, users=users, unconfigured=lacking, is_proven=proven)


def _is_configured(module: AnsibleModule, cluster: Mapping[str, Any]) -> bool:
    plan = _answer(module, cluster, who=module.params["as_server"], what=module.params["plan"])
    if not plan or plan.get("missing") != []:
        return False
    blocks, marker = module.params["blocks"], module.params["marker"]
    try:
        return all(
            has_block(Path(plan[name]).read_text(errors="replace"), block, marker=marker)
            for name, block in blocks.items()
        )
    except (OSError, KeyError):
        return False


def _is_proven(module: AnsibleModule, cluster: Mapping[str, Any]) -> bool:
    proof = _answer(module, cluster, who=module.params["as_backup"], what=module.params["proof"])
    return bool(proof == module.params["rights"])


def _answer(
    module: AnsibleModule, cluster: Mapping[str, Any], *, who: list[str], what: Mapping[str, Any]
) -> dict[str, Any]:
    where = [
        f"--host={cluster['socket_directory']}",
        f"--port={cluster['port']}",
        "--dbname=postgres",
    ]
    argv = [*who, *module.params["psql"], *where, *what["arguments"]]
    code, output, _unused = module.run_command(argv, data=what["sql"], cwd="/")
    try:
        found = json.loads(output) if code == 0 else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    main()
