"""Bundles: packed, checked, loaded and exported."""
