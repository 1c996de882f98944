"""The names of labels, and what the values of a client's label map mean."""

from collections.abc import Mapping, Sequence

import numpy as np

from medssl.transforms.save import check_labels


def parse_labels(text: str) -> dict[int, str]:
    """Return the labels of a setting such as ``1=liver,2=spleen``.

    Raises:
        ValueError: if an entry is not ``value=name``, values are not 1, 2, ... without gaps, or a name occurs twice.

    Example:
        >>> parse_labels("1=liver, 2=right kidney")
        {1: 'liver', 2: 'right kidney'}
    """
    labels: dict[int | str, str] = {}
    for entry in text.split(","):
        value, _, name = (part.strip() for part in entry.partition("="))
        if not value.isdecimal() or not name:
            raise ValueError(f"'{entry.strip()}' is not a label; write labels as 1=liver,2=spleen.")
        if int(value) in labels:
            raise ValueError(f"The label value {value} occurs twice in '{text}'.")
        labels[int(value)] = name
    return check_labels(labels)


def meant_labels(values: np.ndarray, segments: Sequence[str], labels: Mapping[int, str], source: str) -> np.ndarray:
    """Convert a client's label map to the values of the labels.

    3D Slicer numbers saved segments 1, 2, ... in the order of the scene, whatever their names, and sends the names as
    well. So the names decide. Without names the values stay as they are.

    Args:
        values: integer map, 0 is background.
        segments: names of the values 1, 2, ...; may be empty.
        labels: label value to name.
        source: where the map comes from, for the message.

    Raises:
        ValueError: if a value of the map is none of the labels.

    Example:
        >>> meant_labels(np.array([0, 1, 2]), ["spleen", "liver"], {1: "liver", 2: "spleen"}, "a.nii.gz")
        array([0, 2, 1], dtype=uint8)
    """
    known = {name.lower(): value for value, name in labels.items()}
    names = dict(enumerate(segments, start=1)) or dict(labels)
    meant = np.zeros(values.shape, dtype=np.uint8)
    for value in np.unique(values):
        if value == 0:
            continue
        name = names.get(int(value))
        if name is None or name.lower() not in known:
            called = "" if name is None else f" (segment '{name}')"
            raise ValueError(
                f"{source} holds the value {value:g}{called}, which is none of the labels "
                f"{', '.join(f'{v}={n}' for v, n in labels.items())}; rename or remove that segment and save again."
            )
        meant[values == value] = known[name.lower()]
    return meant
