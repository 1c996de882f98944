"""Read the files of scans, and decide whether they can be trusted."""
