"""The life of a run: its folder, start, checkpoints, stop, resume, lock and record."""
