"""Phantom scans: a synthetic data set with exact labels."""
