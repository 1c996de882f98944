"""MONAI dictionary transforms that MONAI lacks."""
