"""Two steps of a pretraining recipe, in this process, on phantoms in 2D or 3D."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssl.phantom.dataset import write_phantom
from medssl.workflows.training import pretrain
from tests.slices import write_slices

STEPS = {"max_epochs": 1, "steps_per_epoch": 2, "num_workers": 0, "panel_every": 2, "checkpoint_every": 2}
DATA = {
    2: (["mr_slices", "phantom_2d"], {"patch_size": [32, 32]}),
    3: (["ct"], {"spacing": [6.0, 6.0, 9.0], "patch_size": [16, 16, 16]}),
}


def run_method(name: str, spatial_dims: int, folder: Path, layers: Sequence[str] = (), **overrides: Any) -> Path:
    """Give the run folder of two steps of a method's recipe.

    Args:
        name: of the method.
        spatial_dims: 2 for phantom slices, 3 for phantom scans.
        folder: new or empty.
        layers: laid over the recipe.
        overrides: settings, such as small networks.
    """
    data, sizes = DATA[spatial_dims]
    if spatial_dims == 2:
        datalist = write_slices(folder / "data")
    else:
        sections = {"num_labelled": 1, "num_validation": 0, "num_test": 0}
        datalist = write_phantom(folder / "data", 3, **sections, shape=(40, 32, 20), spacing=(5.6, 5.9, 8.5))
    settings = {**STEPS, **sizes, **overrides}
    pretrain(name, datalist, data, folder / "run", layers=layers, overrides=settings)
    return folder / "run"
