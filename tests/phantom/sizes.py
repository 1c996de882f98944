"""The size of small phantoms."""

SMALL = {"shape": (48, 40, 20), "spacing": (4.7, 4.7, 8.5)}
