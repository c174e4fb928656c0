"""Arguments in, one operation called, its value shown."""
