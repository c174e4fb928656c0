"""Two machines that the lab must support."""

from lab.machine import Machine

A_LAPTOP = Machine(
    unified_cgroups=True,
    may_raise_limits=True,
    open_files=1048576,
    processes=127000,
    loop_devices=True,
)
A_MIXED_MACHINE = Machine(
    unified_cgroups=False,
    may_raise_limits=False,
    open_files=20000,
    processes=31000,
    loop_devices=True,
)
