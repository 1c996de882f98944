"""A packed bundle, opened: its inference configuration and its network with the trained weights."""

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import nn

from medssl.networks.state_dicts import read_weights
from medssl.packaging.inference_config import build_network
from medssl.packaging.shipped_weights import bundle_folder
from medssl.packaging.weights import load_strictly


class LoadedBundle(NamedTuple):
    """What inference with a bundle needs.

    Attributes:
        folder: of the bundle.
        config: its inference configuration, unresolved.
        network: with the trained weights, in evaluation mode.
    """

    folder: Path
    config: Mapping[str, Any]
    network: nn.Module

    def preprocessing(self, labelled: bool = False) -> Compose:
        """Return the transforms from ``{"image": path}`` to the input of the network.

        The input has no ``image_path``, which only a server adds.

        Args:
            labelled: True takes ``{"image": path, "label": path}`` and resamples the label to the same grid.
        """
        parser = self._parser()
        if labelled:
            parser.update({"keys": ["image", "label"], "interpolation": ["bilinear", "nearest"]})
        return Compose(parser.get_parsed_content("image_transforms"))

    @property
    def patch_size(self) -> Sequence[int]:
        """Spatial size of the windows of inference."""
        return self._parser().get_parsed_content("patch_size")

    @property
    def overlap(self) -> float:
        """Overlap of neighbouring windows, as a fraction of their size."""
        return self._parser().get_parsed_content("overlap")

    @property
    def growth_stride(self) -> int | None:
        """Voxels in whose steps windows may grow beyond `patch_size`; None where they may not."""
        return self._parser().get_parsed_content("growth_stride") if "growth_stride" in self.config else None

    def _parser(self) -> ConfigParser:
        return ConfigParser(deepcopy(dict(self.config)))


def load_bundle(folder: str | os.PathLike[str]) -> LoadedBundle:
    """Return a bundle that medssl packed, of a pretraining or of a segmentation.

    Args:
        folder: of the bundle, or the name of weights that come with medssl.

    Raises:
        FileNotFoundError: if there is no such bundle, or it lacks a file.
        ValueError: if its weights are not those of its network.
    """
    root = bundle_folder(folder)
    config = ConfigParser.load_config_file(str(_require(root / "configs" / "inference.json")))
    network = build_network(config)
    load_strictly(network, read_weights(_require(root / "models" / "model.pt")))
    return LoadedBundle(root, config, network)


def _require(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; give the folder of a bundle that medssl packed.")
    return path
