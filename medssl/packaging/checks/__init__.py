"""Faults of a packed bundle, found before anyone else loads it."""
