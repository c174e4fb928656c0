"""Documentation of the action plugin `control_file`, where Ansible looks for it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: control_file
short_description: Write a file on the control node
description:
- Writes the file itself, without starting a module there, which costs a fleet a second a host.
- Does not connect to the host.
options:
  dest:
    description: The file. Its folder must exist.
    type: path
    required: true
  content:
    description: The text of the file.
    type: str
    required: true
  mode:
    description: The mode of the file, in octal digits.
    type: str
    default: "0644"
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Write a report
  holdfast.holdfast.control_file:
    dest: "reports/{{ inventory_hostname }}.json"
    content: "{{ tuning_report | to_nice_json }}"
"""
RETURN = r"""
dest:
  description: The file.
  returned: always
  type: str
"""
