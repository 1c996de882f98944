"""The life of a run: folder, lock, record, start, checkpoints, stop, resume, and the processes it runs on."""
