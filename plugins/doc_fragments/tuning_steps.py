"""Documentation of the options that the modules of all tuning roles share."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of `module_utils.tuning_steps.ARGUMENTS`; Ansible looks for this class."""

    DOCUMENTATION = r"""
options:
  report:
    description: Only report differences. Then verify never fails.
    type: bool
    default: false
  steps:
    description: The steps to run. C(configure) reads first what it changes.
    type: list
    elements: str
    choices: [preflight, configure, verify]
    default: [preflight, configure, verify]
  may_change:
    description: >-
      Whether anything may be changed now. If not, a host that differs saves its original state, and
      answers C(waiting).
    type: bool
    default: true
"""
