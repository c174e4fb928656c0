"""How often the interpreter looks for garbage: rarely at the start, as usual beside workers."""

from __future__ import annotations

import gc

# New objects before their garbage is looked for, and such looks before one at older objects.
AT_START = (50_000, 50, 50)
_USUAL = gc.get_threshold()


def look_rarely() -> None:
    """Until work begins: loading modules makes no garbage, and would be interrupted 30 times."""
    gc.set_threshold(*AT_START)


def look_as_usual() -> None:
    """Garbage of workers holds buffers: 900 large values left 25 MB of it at the start's pace.

    What was loaded so far is not looked at again.
    """
    if gc.get_threshold() != _USUAL:
        gc.freeze()
        gc.set_threshold(*_USUAL)
