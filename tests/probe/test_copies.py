"""Altered copies of a labelled scan: what they are made of, and a probe that learns from them."""

import json

import numpy as np
import pytest
import torch
from monai.transforms import AddCoordinateChannelsd, Compose, RandFlipd, RandScaleIntensityd

from medssl.evaluation.metrics import read_rows
from medssl.packaging.pack import pack
from medssl.probe.copies import Copies
from medssl.probe.rows import VoxelRows
from medssl.workflows.training import evaluate, train_segmentation
from tests.tiny import NETWORK, SIZES

IMAGE = torch.arange(1.0, 9.0).reshape(1, 2, 2, 2)
LABEL = (IMAGE > 6).long()


def all_rows(case, image, label):
    size = label.numel()
    return VoxelRows(np.asarray(image).reshape(size, 1), np.asarray(label).ravel(), np.ones(size), np.array([size]))


def copied(transforms, copies=2, case="a"):
    return Copies(copies, Compose(transforms), num_channels=1).joined(all_rows)(case, IMAGE, LABEL)


def test_the_scan_comes_first_and_unaltered_then_its_copies():
    rows = copied([RandScaleIntensityd("image", factors=0.5, prob=1.0)])
    original, *copies = rows.features.reshape(3, 8)
    assert original.tolist() == IMAGE.ravel().tolist()
    factors = [copy / original for copy in copies]
    assert all(np.ptp(factor) < 1e-6 for factor in factors)
    assert len({1.0, *(round(float(factor[0]), 4) for factor in factors)}) == 3
    assert rows.labels.tolist() == 3 * LABEL.ravel().tolist()
    assert rows.counts.tolist() == [8, 8, 8]


def test_a_label_moves_with_its_image():
    rows = copied([RandFlipd(["image", "label"], prob=1.0, spatial_axis=0)], copies=1)
    assert rows.labels[8:].tolist() == (rows.features[8:, 0] > 6).tolist()
    assert rows.labels[8:].tolist() != rows.labels[:8].tolist()


def test_a_copy_follows_from_the_name_of_the_case_and_its_number():
    scaled = [RandScaleIntensityd("image", factors=0.5, prob=1.0)]
    np.testing.assert_array_equal(copied(scaled).features, copied(scaled, copies=3).features[:24])
    assert not np.array_equal(copied(scaled).features, copied(scaled, case="b").features)


def test_no_copy_gives_the_rows_of_the_scan():
    np.testing.assert_array_equal(copied([], copies=0).features, all_rows("a", IMAGE, LABEL).features)


def test_channels_of_position_are_made_anew():
    images = []
    augmentation = Compose([RandScaleIntensityd("image", factors=0.5, prob=1.0), AddCoordinateChannelsd("image", [0])])

    def watched(case, image, label):
        images.append(image)
        return all_rows(case, image[:1], label)

    with_position = AddCoordinateChannelsd("image", [0])({"image": IMAGE})["image"]
    Copies(1, augmentation, num_channels=1).joined(watched)("a", with_position, LABEL)
    assert images[1].shape == images[0].shape and images[1][1].tolist() == images[0][1].tolist()
    assert images[1][0].tolist() != images[0][0].tolist()


@pytest.mark.parametrize(("copies", "scans"), [(0, 2), (1, 4)])
def test_a_probe_learns_from_copies_of_every_labelled_scan(copies, scans, ct_list, tmp_path):
    settings = {**SIZES, **NETWORK, "overlap": 0.0, "copies": copies, "max_voxels": 2000}
    train_segmentation(
        *("linear_probe", ct_list, ["ct"], tmp_path / "run"),
        num_labels=2,
        layers=["augmented_probe"],
        overrides=settings,
    )
    report = json.loads((tmp_path / "run" / "probe.json").read_text(encoding="utf-8"))
    assert len(report["cases"]) == 2 and report["voxels"] <= 2000
    assert len(list((tmp_path / "run" / "features").glob("phantom_ct_00[01]*.features.npy"))) == scans


def test_a_probe_with_position_is_evaluated_and_packed_as_any_other(ct_list, pretrained, tmp_path):
    train_segmentation(
        *("linear_probe", ct_list, ["ct", "position"], tmp_path / "run"),
        backbone=pretrained,
        num_labels=2,
        layers=["augmented_probe"],
        overrides={**SIZES, "overlap": 0.0, "copies": 1},
    )
    assert {row["setting"] for row in read_rows(evaluate(tmp_path / "run"))} == {"linear_probe"}
    bundle = pack(tmp_path / "run", "toy", tmp_path / "bundles")
    inputs = json.loads((bundle / "configs" / "metadata.json").read_text())["network_data_format"]["inputs"]["image"]
    assert inputs["channel_def"] == {"0": "image", "1": "coordinate 0", "2": "coordinate 1"}
    assert inputs["num_channels"] == 3 and inputs["format"] == "hounsfield"
