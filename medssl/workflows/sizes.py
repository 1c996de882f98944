"""Whether sizes in a configuration can be sizes, said before anything starts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

_WHOLE = "patch_size"
_MEANT = {"spacing": "lengths in mm above 0", _WHOLE: "whole numbers of voxels above 0"}


def require_sizes(config: Mapping[str, Any]) -> None:
    """Require that spacing and patch size have one sensible number for each axis.

    References, expressions and a spacing of None are left to whoever resolves them.

    Args:
        config: merged, unresolved.

    Raises:
        ValueError: if one does not; names the setting.

    Example:
        >>> require_sizes({"spatial_dims": 3, "spacing": [2, 2, 3], "patch_size": [0, 64, 64]})
        Traceback (most recent call last):
        ValueError: --patch_size is [0, 64, 64]; give 3 whole numbers of voxels above 0, as in "[64,64,32]".
    """
    # A data recipe alone may not say how many axes it is for.
    axes = config.get("spatial_dims")
    for key, meant in _MEANT.items():
        value = config.get(key)
        if value is None or (isinstance(value, str) and value.startswith(("@", "$"))):
            continue
        if not _are_sizes(value, (2, 3) if axes is None else (axes,), key == _WHOLE):
            example = "" if axes == 2 else ", as in " + ('"[64,64,32]"' if key == _WHOLE else '"[2,2,3]"')
            raise ValueError(f"--{key} is {value}; give {axes or '2 or 3'} {meant}{example}.")


def _are_sizes(value: Any, counts: Sequence[Any], whole: bool) -> bool:
    if not isinstance(value, list | tuple) or len(value) not in counts:
        return False
    numbers = [size for size in value if isinstance(size, int | float) and not isinstance(size, bool)]
    kinds = [size for size in numbers if math.isfinite(size) and size > 0 and (not whole or isinstance(size, int))]
    return len(kinds) == len(value)
