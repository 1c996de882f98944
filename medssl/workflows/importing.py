"""Published weights as a bundle, from which probing or fine-tuning starts."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from medssl.files import file_sha256, write_json
from medssl.networks.state_dicts import read_state_dict
from medssl.packaging.pack import pack
from medssl.packaging.published_weights import PublishedWeights, mapping_report, read_published_weights
from medssl.packaging.torchvision_weights import read_torchvision_weights, torchvision_depth
from medssl.runs.record import library_versions, write_run_record
from medssl.runs.tensors import save_atomically
from medssl.workflows.recipes import find_recipe, merge

PAPERS = {
    "vox2vec": (
        "Goncharov et al. vox2vec: a framework for self-supervised contrastive learning of voxel-level representations "
        "in medical images. MICCAI 2023. https://arxiv.org/abs/2307.14725"
    ),
    "kats": (
        "Kats et al. Self-supervised learning of dense hierarchical representations for medical image segmentation. "
        "ISBI 2024. https://arxiv.org/abs/2401.06473"
    ),
}
# The bundle of a residual network needs a method's recipe; SimCLR's paper uses these networks.
RESIDUAL_NETWORKS = {"resnet18": 18, "resnet50": 50}
RESIDUAL_METHOD = "simclr"
RESIDUAL_PAPER = "He et al. Deep residual learning for image recognition. CVPR 2016. https://arxiv.org/abs/1512.03385"
LICENCES = {
    "vox2vec": "published with code under the MIT licence; ask the authors whether it covers the weights.",
    "kats": "no licence is stated; ask the authors before you share the weights.",
}
EXPECTED_IMAGES = (
    "torchvision's own weights expect images whose channels have ImageNet's mean and deviation removed; a data recipe "
    "scales to 0..1. Fine-tune rather than probe, or normalise in a data recipe of your own."
)
UNKNOWN_LICENCE = "the file states none; ask whoever trained the weights before you share them."
UNKNOWN_IMAGES = "The file does not say what images the weights were trained on; torchvision's own saw ImageNet."


def import_weights(path: Path, method: str, data: Sequence[str], name: str, out: Path) -> tuple[Path, list[str]]:
    """Make a ``*_pretrain`` bundle from a published checkpoint; return its folder and a report of its tensors.

    Args:
        path: checkpoint of vox2vec, of Kats et al., or of a residual network in torchvision's format.
        method: ``vox2vec`` or ``kats``, whose paper and licence the model card names; ``resnet18`` or ``resnet50``.
        data: names of data recipes, or YAML files: the preprocessing to use with the weights.
        name: of the bundle.
        out: folder for the bundle.

    Raises:
        FileExistsError: if a bundle of that name exists.
        FileNotFoundError: if the checkpoint or a recipe does not exist.
        ValueError: if the method has no published weights, the file holds another network, or the data recipe of a
            residual network is not 2D.
    """
    known = sorted([*PAPERS, *RESIDUAL_NETWORKS])
    if method not in known:
        raise ValueError(f"There are no published weights of {method!r}; import them as one of {', '.join(known)}.")
    preprocessing = [find_recipe("data", layer) for layer in data]
    start = [find_recipe("pretrain/configs", "train")]
    if method in RESIDUAL_NETWORKS:
        networks = [find_recipe("pretrain/configs/methods", RESIDUAL_METHOD), find_recipe("networks", method)]
        recipe = [*start, *networks, *preprocessing]
        weights = _residual_weights(path, method, merge(recipe, {}))
    else:
        recipe = [*start, find_recipe("pretrain/configs/methods", method), *preprocessing]
        weights = read_published_weights(path)
    config = merge(recipe, {**weights.settings, "name": method})
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        write_json(run / "config.json", config)
        write_run_record(run, _record(weights, method, config, preprocessing))
        save_atomically(weights.tensors, run / "backbone.pt")
        bundle = pack(run, name, out)
    notes = [EXPECTED_IMAGES] if method in RESIDUAL_NETWORKS else []
    return bundle, [*mapping_report(weights), *notes]


def inspect_weights(path: Path) -> Iterator[str]:
    """Yield lines that say what a checkpoint holds.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is damaged or holds anything but tensors.
    """
    state = read_state_dict(path)
    yield f"{path}: {len(state)} tensors, {sum(value.numel() for value in state.values()):,} numbers"
    depth = torchvision_depth(state)
    if depth is not None:
        yield from _residual_facts(state, depth)
        return
    try:
        weights = read_published_weights(path)
    except ValueError as error:
        yield f"neither a residual network of torchvision nor a backbone of vox2vec or Kats et al.: {error}"
        yield from (f"  {name} {tuple(value.shape)}" for name, value in list(state.items())[:8])
        return
    found = weights.settings
    yield (
        f"a {found['spatial_dims']}D feature pyramid of vox2vec or Kats et al.: {found['num_levels']} levels, "
        f"the finest with {found['base_channels']} channels, for images with {found['in_channels']} channel(s)"
    )
    if weights.left_out:
        yield f"also {len(weights.left_out)} tensors of heads, which are not imported"


def _residual_facts(state: Mapping[str, Tensor], depth: int) -> Iterator[str]:
    stem = state["conv1.weight"]
    yield (
        f"a 2D residual network of {depth} layers with torchvision's names: for images with {stem.shape[1]} "
        f"channel(s), the finest level with {len(stem)} channels"
    )
    if f"resnet{depth}" in RESIDUAL_NETWORKS:
        yield f"import it with --as resnet{depth} and a 2D data recipe, such as image_2d"
    if "fc.weight" in state:
        yield f"also a classifier of {len(state['fc.weight'])} classes, which is not imported"


def _residual_weights(path: Path, method: str, config: Mapping[str, Any]) -> PublishedWeights:
    if config["spatial_dims"] != 2:
        raise ValueError(
            f"{method} takes 2D images; give a 2D data recipe: --data image_2d, for colour --data image_2d --data "
            "image_rgb_2d, or --data mr_slices."
        )
    return read_torchvision_weights(path, RESIDUAL_NETWORKS[method], config["in_channels"])


def _record(
    weights: PublishedWeights, method: str, config: Mapping[str, Any], preprocessing: Sequence[Path]
) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    source = {"file": weights.path.name, "sha256": file_sha256(weights.path)}
    if method in PAPERS:
        source |= {"paper": PAPERS[method], "licence": LICENCES[method]}
    else:
        source |= {"paper": RESIDUAL_PAPER, "licence": UNKNOWN_LICENCE, "trained_on": UNKNOWN_IMAGES}
    return {
        "kind": "pretrain",
        "setting": None,
        "method": method,
        "recipe": [path.name for path in preprocessing],
        "datalist": {
            "name": "the authors' scans",
            "modality": config["modality"],
            "spatial_dims": weights.settings["spatial_dims"],
        },
        "labels": 0,
        "backbone_sha256": None,
        "source": source,
        "versions": library_versions(),
        "started": now,
        "finished": now,
    }
