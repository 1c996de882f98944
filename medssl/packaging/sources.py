"""The source bundles as installed: where their recipes and templates are."""

from importlib.util import find_spec
from pathlib import Path


def source_bundles() -> Path:
    """Return the folder that holds the source bundles ``pretrain`` and ``segmentation``.

    Example:
        >>> (source_bundles() / "segmentation" / "configs" / "inference.yaml").is_file()
        True
    """
    spec = find_spec("medssl_bundles")
    # An editable installation lists a placeholder beside the true folder.
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    for folder in folders:
        if folder.is_dir():
            return folder
    raise FileNotFoundError("The source bundles (medssl_bundles) are not installed; reinstall medssl.")
