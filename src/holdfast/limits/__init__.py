"""How many workers a run may have, and how fast they may go."""
