"""The main job on a throw-away fleet: tuned, backed up by timers, verified, restored, compared."""
