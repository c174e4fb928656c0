"""Lets tests import what Ansible sends to the hosts under `ansible.module_utils`."""

from pathlib import Path

import ansible.module_utils

ansible.module_utils.__path__.append(str(Path(__file__).parents[3] / "plugins/module_utils"))
