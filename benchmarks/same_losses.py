"""The losses and weights of a short training of every recipe, to hold two versions of medssl against each other.

A change that only moves code must leave both as they are, to the bit:

    python benchmarks/same_losses.py record before.json --medssl OLD/.venv/bin/medssl --data phantoms
    python benchmarks/same_losses.py record after.json --data phantoms
    python benchmarks/same_losses.py compare before.json after.json

The phantoms are made in the first run. Three steps of every recipe, on one thread, in a fresh process each.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

STEPS = ["--max_epochs", "1", "--steps_per_epoch", "3", "--num_workers", "0", "--checkpoint_every", "3"]
DATA = {
    2: ["--data", "mr_slices", "--data", "phantom_2d", "--patch_size", "[32,32]"],
    3: ["--data", "mr", "--spacing", "[6.0,6.0,9.0]", "--patch_size", "[16,16,16]", "--shuffle_blocks", "20"],
}
LARGER = {2: ["--patch_size", "[64,32]"], 3: ["--patch_size", "[64,32,32]"]}
FOUR = ["--base_channels", "4", "--pairs_per_batch", "4"]
PYRAMID = ["--base_channels", "4", "--num_levels", "3", "--pairs_per_batch", "4"]
VOXELS = [*PYRAMID, "--num_voxels", "16"]
SHALLOW = [*FOUR, "--backbone_def::depth", "10"]
NARROW = ["--hidden_channels", "16"]
METHODS = {
    "kats": VOXELS,
    "vox2vec": VOXELS,
    "pix2rep": VOXELS,
    "pix2rep_v2": VOXELS,
    "supercl": [*VOXELS, "--num_regions", "10"],
    "pcl": PYRAMID,
    "wcl": [*PYRAMID, *NARROW],
    "simclr": [*FOUR, *NARROW],
    "byol": [*FOUR, *NARROW],
    "vicreg": [*FOUR, "--expander_channels", "16"],
    "moco": [*FOUR, "--queue_size", "8"],
    "matssl": [*FOUR, *NARROW],
    "vicregl": [*SHALLOW, "--expander_channels", "16", "--map_channels", "8"],
    "densecl": [*SHALLOW, "--embedding_channels", "8", "--queue_size", "16"],
}
LAYERS = {
    "kats contrast_local": ["kats", "--with", "contrast_local", *VOXELS],
    "kats restoration_local": ["kats", "--with", "restoration_local", *VOXELS],
    "kats contrast_restoration_local": ["kats", "--with", "contrast_restoration_local", *VOXELS],
    "kats kats_reference": ["kats", "--with", "kats_reference", *VOXELS],
    "kats unet": ["kats", "--with", "unet", *VOXELS],
    "simclr scale_aware": [
        *("simclr", "--with", "scale_aware", *METHODS["simclr"], "--window_stride", "8", "--window_floor", "8")
    ],
    "simclr full_frame": [
        *("simclr", "--with", "full_frame", *METHODS["simclr"], "--window_stride", "8", "--window_floor", "8")
    ],
    "simclr affine": ["simclr", "--with", "affine", *METHODS["simclr"]],
    "simclr resnet18": ["simclr", "--with", "resnet18", *METHODS["simclr"]],
    "simclr unet_encoder": ["simclr", "--with", "unet_encoder", *METHODS["simclr"], "--num_levels", "3"],
}
FEW = ["--labels", "1", "--patches_per_batch", "2", "--volumes_per_batch", "1", "--val_interval", "1"]
SMALL = ["--base_channels", "4", "--num_levels", "3"]
BACKBONE = ["--backbone", "kats"]
SEGMENTATION = {
    "probe": ["probe", *BACKBONE],
    "probe random": ["probe", *SMALL],
    "probe cached": ["probe", "--cached", *BACKBONE],
    "finetune": ["finetune", *BACKBONE, "--frozen_steps", "1"],
    "finetune fine_tune_reference": ["finetune", "--with", "fine_tune_reference", *BACKBONE, "--frozen_steps", "1"],
    "finetune pix2rep_fine_tune": ["finetune", "--with", "pix2rep_fine_tune", *BACKBONE],
    "finetune mean_teacher": ["finetune", "--with", "mean_teacher", *BACKBONE, "--frozen_steps", "1"],
    "finetune unet_decoder": ["finetune", "--with", "unet_decoder", *BACKBONE, "--frozen_steps", "1"],
    "finetune unetplusplus": ["finetune", "--with", "unetplusplus", *BACKBONE, "--frozen_steps", "1"],
    "finetune deeplabv3": ["finetune", "--with", "deeplabv3", *BACKBONE, "--aspp_channels", "4"],
    "scratch": ["finetune", *SMALL],
    "scratch stock_network": ["finetune", "--with", "stock_network"],
}


def main() -> None:
    """Record the losses of one version, or compare those of two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record")
    record.add_argument("out", type=Path)
    record.add_argument("--medssl", type=Path, default=Path(sys.executable).parent / "medssl")
    record.add_argument("--data", type=Path, required=True, help="Folder of the phantoms; made where there is none.")
    compare = commands.add_parser("compare")
    compare.add_argument("files", type=Path, nargs=2)
    given = parser.parse_args()
    if given.command == "compare":
        sys.exit(different(*(json.loads(path.read_text()) for path in given.files)))
    lists = phantoms(given.data.resolve(), given.medssl)
    with tempfile.TemporaryDirectory() as folder:
        given.out.write_text(json.dumps(record_all(given.medssl, lists, Path(folder)), indent=2))


def phantoms(folder: Path, medssl: Path) -> dict[int, Path]:
    """Give the lists of the phantoms in 2D and 3D, which are made by the version under test where they are missing."""
    lists = {3: folder / "volumes" / "datalist.json", 2: folder / "slices" / "datalist.json"}
    if not lists[2].is_file():
        code = (
            "from medssl.data.phantom import write_phantom\n"
            f"write_phantom({str(folder / 'volumes')!r}, 5, num_labelled=2, num_validation=1, num_test=1,"
            " shape=(40, 32, 20), spacing=(5.6, 5.9, 8.5), modality='MR')"
        )
        subprocess.run([medssl.parent / "python", "-c", code], check=True)
        subprocess.run([medssl, "slices", lists[3], "--out", folder / "slices"], check=True)
    return lists


def record_all(medssl: Path, lists: dict[int, Path], folder: Path) -> dict[str, dict]:
    """Give losses and weights of every recipe by its name."""
    found = {}
    for dims in (2, 3):
        work = folder / str(dims)
        work.mkdir()
        common = ["--datalist", lists[dims], *DATA[dims], *STEPS]
        recipes = {name: [name, *settings] for name, settings in METHODS.items()} | LAYERS
        for name, arguments in recipes.items():
            if "kats_reference" in name and dims == 2:
                # Its restoration head is a convolution in 3D.
                continue
            larger = LARGER[dims] if name in ("vicregl", "densecl") else []
            workers = ["--panel_every", "3", *larger]
            found[f"{dims}D {name}"] = trained(
                medssl, work, name, ["pretrain", arguments[0], *common, *arguments[1:], *workers]
            )
        for name, arguments in SEGMENTATION.items():
            found[f"{dims}D {name}"] = trained(medssl, work, name, [*arguments, *common, *FEW])
    return found


def trained(medssl: Path, folder: Path, name: str, arguments: list) -> dict:
    """Give the losses of every step and the SHA-256 of the weights of one training."""
    out = folder / name.replace(" ", "_")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(part) for part in (medssl, *arguments, "--out", out)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    print(name, "done" if done.returncode == 0 else done.stderr[-500:], flush=True)
    if done.returncode:
        return {"failed": done.stderr[-500:]}
    events = EventAccumulator(str(out / "tensorboard"), {"scalars": 0}).Reload()
    losses = {tag: [event.value for event in events.Scalars(tag)] for tag in sorted(events.Tags()["scalars"])}
    weights = next(path for path in (out / "backbone.pt", out / "model.pt") if path.is_file())
    digest = hashlib.sha256()
    for key, value in sorted(torch.load(weights, weights_only=True).items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode() + value.contiguous().numpy().tobytes())
    return {"losses": losses, "sha256": digest.hexdigest()}


def different(before: dict[str, dict], after: dict[str, dict]) -> int:
    """Print every recipe that differs, and give the number of these."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name) or "failed" in after[name]]
    for name in names:
        print(f"{name}: {before.get(name)}\n -> {after.get(name)}")
    print(f"{len({**before, **after})} recipes, {len(names)} differ or failed")
    return len(names)


if __name__ == "__main__":
    main()
