"""Phantom scans: an embedded data set with exact labels."""
