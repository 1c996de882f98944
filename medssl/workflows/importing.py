"""Published weights as a bundle, from which a probe or a fine-tuning starts."""

import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medssl.data.files import file_sha256, write_json
from medssl.engines.run_folder import save_atomically
from medssl.packaging.pack import pack
from medssl.packaging.provenance import library_versions, write_run_record
from medssl.packaging.published_weights import PublishedWeights, mapping_report, read_published_weights, read_state_dict
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
LICENCES = {
    "vox2vec": "published beside code under the MIT licence; ask the authors whether it covers the weights.",
    "kats": "no licence is stated; ask the authors before you pass them on.",
}


def import_weights(path: Path, method: str, data: Sequence[str], name: str, out: Path) -> tuple[Path, list[str]]:
    """Give the folder of a ``*_pretrain`` bundle made from a published checkpoint, and a report of its tensors.

    Args:
        path: checkpoint of vox2vec or of Kats et al.
        method: ``vox2vec`` or ``kats``, whose paper and licence the model card names.
        data: names of data recipes, or YAML files: the preprocessing that the weights are used with.
        name: of the bundle.
        out: folder that gets the bundle.

    Raises:
        FileExistsError: if there is a bundle of that name.
        FileNotFoundError: if there is no such checkpoint or recipe.
        ValueError: if the method has no published weights, or the file holds none of its kind.
    """
    if method not in PAPERS:
        raise ValueError(f"There are no published weights of {method!r}; import them as {' or '.join(sorted(PAPERS))}.")
    weights = read_published_weights(path)
    recipe = [
        find_recipe("pretrain/configs", "train"),
        find_recipe("pretrain/configs/methods", method),
        *(find_recipe("data", layer) for layer in data),
    ]
    shape = {key: getattr(weights, key) for key in ("spatial_dims", "in_channels", "base_channels", "num_levels")}
    config = merge(recipe, shape)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        write_json(run / "config.json", config)
        write_run_record(run, _record(weights, method, config["modality"], recipe[2:]))
        save_atomically(weights.tensors, run / "backbone.pt")
        bundle = pack(run, name, out)
    return bundle, list(mapping_report(weights))


def inspect_weights(path: Path) -> Iterator[str]:
    """Yield lines that say what a checkpoint holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds other objects than tensors.
    """
    state = read_state_dict(path)
    yield f"{path}: {len(state)} tensors, {sum(value.numel() for value in state.values()):,} numbers"
    try:
        weights = read_published_weights(path)
    except ValueError as error:
        yield f"no backbone of vox2vec or Kats et al.: {error}"
        yield from (f"  {name} {tuple(value.shape)}" for name, value in list(state.items())[:8])
        return
    yield (
        f"a feature pyramid in {weights.spatial_dims}D as of vox2vec or Kats et al.: {weights.num_levels} levels, the "
        f"finest with {weights.base_channels} channels, images of {weights.in_channels} channel(s)"
    )
    if weights.left_out:
        yield f"beside it {len(weights.left_out)} tensors of heads, which are not transferred"


def _record(weights: PublishedWeights, method: str, modality: str, preprocessing: Sequence[Path]) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "kind": "pretrain",
        "setting": None,
        "method": method,
        "recipe": [path.name for path in preprocessing],
        "datalist": {"name": "the authors' scans", "modality": modality},
        "labels": 0,
        "backbone_sha256": None,
        "source": {
            "file": weights.path.name,
            "sha256": file_sha256(weights.path),
            "paper": PAPERS[method],
            "licence": LICENCES[method],
        },
        "versions": library_versions(),
        "started": now,
        "finished": now,
    }
