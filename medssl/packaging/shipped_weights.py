"""Pretrained weights that come with medssl, found by their names."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from medssl.packaging.sources import source_bundles

_ADVICE = "give the folder of a finished pretraining run or of a bundle, or the name of weights that come with medssl"


class ShippedWeights(NamedTuple):
    """What one needs to know to choose weights.

    Attributes:
        name: as `--backbone` and `load_backbone` take it.
        folder: the pretraining bundle.
        size: of the file of weights, in bytes.
        modality: of the scans that the weights were trained on.
        spacing: of the voxels that they saw, in mm.
        channels: of the finest level.
        levels: of the pyramid.
        licence: of the weights.
    """

    name: str
    folder: Path
    size: int
    modality: str
    spacing: Sequence[float]
    channels: int
    levels: int
    licence: str


def shipped_weights() -> list[ShippedWeights]:
    """All weights that come with medssl, sorted by name.

    Example:
        >>> [(weights.name, weights.modality, weights.licence) for weights in shipped_weights()]
        [('abdomen-ct', 'CT', 'CC BY 4.0'), ('abdomen-ct-4mm', 'CT', 'CC BY 4.0')]
    """
    folders = sorted(path.parent for path in (source_bundles() / "weights").glob("*/provenance.json"))
    return [_described(folder) for folder in folders]


def bundle_folder(source: str | os.PathLike[str]) -> Path:
    """The folder of a run or a bundle: a folder as it is given, or that of shipped weights by their name.

    Args:
        source: a folder, which wins, or a name such as ``abdomen-ct``.

    Raises:
        FileNotFoundError: if it is neither; the message lists the names.

    Example:
        >>> bundle_folder("abdomen-ct").name
        'abdomen_ct'
    """
    if Path(source).is_dir():
        return Path(source)
    shipped = {weights.name: weights.folder for weights in shipped_weights()}
    if str(source) not in shipped:
        raise FileNotFoundError(f"There is no folder {source}; {_ADVICE}: {', '.join(shipped)}.")
    return shipped[str(source)]


def _described(folder: Path) -> ShippedWeights:
    config, provenance = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("configs/train.json", "provenance.json")
    )
    return ShippedWeights(
        name=folder.name.replace("_", "-"),
        folder=folder,
        size=(folder / "models" / "model.pt").stat().st_size,
        modality=config["modality"],
        spacing=config["spacing"],
        channels=config["base_channels"],
        levels=config["num_levels"],
        licence=provenance["licence"],
    )
