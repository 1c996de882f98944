"""A finished run of a tiny network, as a run folder."""

import json
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.networks.segmentation import SegmentationNetwork
from medssl.packaging.sources import source_bundles
from medssl.runs.record import finish_run_record, run_record, write_run_record

LABELS = {"0": "background", "1": "liver", "2": "left kidney"}


def write_datalist(folder: Path) -> Path:
    case = {"case": "a", "image": "a.nii.gz", "label": "a_label.nii.gz"}
    content = {"name": "toy", "modality": "CT", "labels": LABELS, "training": [case], "unlabeled": [case, case]}
    path = folder / "list.json"
    path.write_text(json.dumps({**content, "licence": "CC BY 4.0"}))
    return path


def segmentation_config(folder: Path) -> dict:
    names = ("segmentation/configs/train.yaml", "segmentation/configs/linear_probe.yaml", "data/ct.yaml")
    config = ConfigParser(ConfigParser.load_config_files([str(source_bundles() / name) for name in names]))
    config.update(
        {
            "datalist": str(write_datalist(folder)),
            "output_dir": str(folder),
            "class_names": LABELS,
            "num_classes": 2,
            "base_channels": 4,
            "num_levels": 2,
            "patch_size": [16, 16, 16],
            "name": "kats",
        }
    )
    return config.get()


def segment_bright_voxels(network: SegmentationNetwork) -> None:
    """Set the weights so that scaled intensities above 0.5 become label 1, and above 0.83 label 2."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        stem, laterals, convs = network.backbone.stem, network.backbone.laterals[0], network.head.convs
        stem.weight[0, 0, 1, 1, 1] = 1.0
        laterals.weight[0, 0] = 1.0
        convs[-1].weight[:, 0] = torch.tensor([10.0, 100.0]).reshape(2, *[1] * 3)
        convs[-1].bias[:] = torch.tensor([-5.0, -80.0])


def record_run(folder: Path, **facts) -> None:
    recipe = [folder / "train.yaml", folder / "recipe.yaml"]
    record = run_record(method="kats", recipe=recipe, seed=0, steps=30, datalist=folder / "list.json", **facts)
    write_run_record(folder, record)
    finish_run_record(folder)


def segmentation_run(folder: Path) -> Path:
    """Write a finished linear-probe run whose network is a known function of intensity."""
    folder.mkdir(parents=True, exist_ok=True)
    config = segmentation_config(folder)
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    backbone = FPN(base_channels=4, num_levels=2)
    network = SegmentationNetwork(backbone, LinearHead(3, backbone.level_channels, 2))
    segment_bright_voxels(network)
    torch.save(network.state_dict(), folder / "model.pt")
    record_run(folder, kind="segmentation", setting="linear_probe")
    rows = [("a", "liver", 0.8), ("a", "left kidney", None), ("b", "liver", 0.6), ("b", "left kidney", 0.5)]
    with open(folder / "rows.jsonl", "w") as file:
        for case, structure, dice in rows:
            row = {"case": case, "class": structure, "dice": dice, "hd95_mm": dice and 10 * dice, "surface_dice": None}
            file.write(json.dumps(row) + "\n")
    return folder


def pretraining_run(folder: Path) -> Path:
    """Write a finished pretraining run with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = segmentation_config(folder)
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    torch.save(FPN(base_channels=4, num_levels=2).state_dict(), folder / "backbone.pt")
    record_run(folder, kind="pretrain")
    return folder
