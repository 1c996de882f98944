"""Data lists, their checks and splits, sampling, and the embedded phantom."""
