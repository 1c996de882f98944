"""Masks whose labels are colours."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

ELSE = "else"
_PART = re.compile(r"\s*(\d{1,9})\s*=\s*(#[0-9a-fA-F]{6}|else)\s*")
# Red, green and blue as one number.
_WEIGHTS = np.array([1 << 16, 1 << 8, 1], dtype=np.int64)

Colour = tuple[int, int, int]


def parse_label_colours(text: str) -> dict[int, Colour | str]:
    """Parse ``VALUE=#RRGGBB,VALUE=#RRGGBB`` into the colour of every label value.

    One value may be ``else``, which stands for every colour that is not listed.

    Args:
        text: the text to parse.

    Raises:
        ValueError: if a part has another form, or a value or colour appears twice.

    Example:
        >>> parse_label_colours("0=else, 1=#ff0000")
        {0: 'else', 1: (255, 0, 0)}
    """
    colours: dict[int, Colour | str] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None or int(match[1]) in colours:
            raise ValueError(f"Label colours '{text}': give every value once, as in 0=else,1=#ff0000,2=#0000ff.")
        colours[int(match[1])] = ELSE if match[2] == ELSE else tuple(bytes.fromhex(match[2][1:]))
    return require_label_colours(colours, f"Label colours '{text}'")


def require_label_colours(colours: Mapping[int, Any], source: Any) -> dict[int, Colour | str]:
    """Require that every colour is ``[red, green, blue]`` or, at most once, ``else``, and that all differ.

    Args:
        colours: colour of each label value.
        source: what the error message names.

    Returns:
        The colours as tuples, ordered by label value.

    Raises:
        ValueError: if a colour is malformed or used twice.
    """
    checked: dict[int, Colour | str] = {}
    for value, colour in sorted(colours.items()):
        is_colour = (
            isinstance(colour, list | tuple)
            and len(colour) == 3
            and all(isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= 255 for part in colour)
        )
        if not is_colour and colour != ELSE:
            raise ValueError(
                f"{source}: the colour of label {value} is {colour!r}; give [red, green, blue] from 0 to 255, or "
                f"'{ELSE}' for every other colour."
            )
        checked[value] = tuple(colour) if is_colour else ELSE
    if len(set(checked.values())) < len(checked):
        raise ValueError(f"{source}: two labels have the same colour; give every label a colour of its own.")
    return checked


def format_label_colours(colours: Mapping[int, Colour | str]) -> str:
    """Format colours as the text that `parse_label_colours` reads.

    Example:
        >>> format_label_colours({0: "else", 1: (255, 0, 0)})
        '0=else,1=#ff0000'
    """
    return ",".join(
        f"{value}={colour if isinstance(colour, str) else '#' + bytes(colour).hex()}"
        for value, colour in colours.items()
    )


def colours_to_labels(pixels: np.ndarray, colours: Mapping[int, Colour | str], source: Any) -> np.ndarray:
    """Turn a colour mask into a label map of shape ``(x, y)``, uint8, or int32 beyond 255.

    Args:
        pixels: uint8, shape ``(x, y, 3)``.
        colours: colour of each label value.
        source: what the error message names.

    Raises:
        ValueError: if a pixel has an unlisted colour; the message names the file, the colour and the pixel.

    Example:
        >>> mask = np.array([[[255, 0, 0], [9, 9, 9]]], np.uint8)
        >>> colours_to_labels(mask, {0: "else", 1: (255, 0, 0)}, "mask.png")
        array([[1, 0]], dtype=uint8)
    """
    codes = pixels.astype(np.int64) @ _WEIGHTS
    labels = np.full(codes.shape, -1, dtype=np.int32)
    for value, colour in colours.items():
        if colour != ELSE:
            labels[codes == int(np.dot(colour, _WEIGHTS))] = value
    unlisted = labels < 0
    others = [value for value, colour in colours.items() if colour == ELSE]
    if unlisted.any() and not others:
        x, y = (int(index) for index in np.argwhere(unlisted)[0])
        raise ValueError(
            f"{source} has the colour #{bytes(pixels[x, y].tolist()).hex()} at pixel ({x}, {y}) and, in "
            f"{int(unlisted.sum())} pixels, a colour that label_colours does not list; list it, or add "
            f"'0={ELSE}' for all others."
        )
    labels[unlisted] = others[0] if others else 0
    return labels.astype(np.uint8) if labels.max(initial=0) < 256 else labels
