"""A packed bundle, opened: its inference configuration and its network with the trained weights."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import nn

from medssl.files import read_object
from medssl.networks.state_dicts import read_weights
from medssl.packaging.data_only import data_only
from medssl.packaging.inference_config import build_network
from medssl.packaging.shipped_weights import bundle_folder
from medssl.packaging.weights import load_strictly

# What of a configuration is built or read, besides the network.
_RESOLVED = ("image_transforms", "patch_size", "overlap", "growth_stride", "one_piece")
_ADVICE = "give the folder of a bundle that medssl packed"


class LoadedBundle(NamedTuple):
    """What inference with a bundle needs.

    Attributes:
        folder: of the bundle.
        config: its inference configuration, unresolved.
        network: with the trained weights, in evaluation mode.
        trust: whether transforms and sizes may be whatever the configuration says; else they are read as data.
    """

    folder: Path
    config: Mapping[str, Any]
    network: nn.Module
    trust: bool = False

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
    def in_channels(self) -> int:
        """Number of channels that a scan must have."""
        return len(self.config.get("channel_names", ())) or 1

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

    @property
    def one_piece(self) -> Sequence[int]:
        """Values of structures of which only the largest piece is kept."""
        return self._parser().get_parsed_content("one_piece") if "one_piece" in self.config else []

    def _parser(self) -> ConfigParser:
        names = [name for name in _RESOLVED if name in self.config]
        return ConfigParser(data_only(self.config, names, _config_file(self.folder), self.trust))


def load_bundle(folder: str | os.PathLike[str], trust: bool = False) -> LoadedBundle:
    """Return a bundle that medssl packed, of a pretraining or of a segmentation.

    Its configuration is read as data: networks and transforms of MONAI, torch and medssl are built from plain values,
    and nothing else in it runs.

    Args:
        folder: of the bundle, or the name of weights that come with medssl.
        trust: True runs whatever the configuration says, classes of other packages and expressions too.

    Raises:
        FileNotFoundError: if there is no such bundle, or it lacks a file.
        ValueError: if its configuration holds code, a file is damaged, or its weights are not those of its network.
    """
    root = bundle_folder(folder)
    path = _config_file(root)
    config = read_object(path, _ADVICE)
    data_only(config, [name for name in _RESOLVED if name in config], path, trust)
    network = build_network(config, trust, path)
    weights = root / "models" / "model.pt"
    load_strictly(network, read_weights(weights), weights)
    return LoadedBundle(root, config, network, trust)


def _config_file(folder: Path) -> Path:
    """Return where a bundle, or a run, keeps its configuration."""
    packed = folder / "configs" / "inference.json"
    return packed if packed.parent.is_dir() else folder / "config.json"
