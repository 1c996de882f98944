"""Faster ways to compute a step, and the gate that refuses wrong ones."""
