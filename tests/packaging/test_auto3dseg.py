"""Models for the 3D Slicer extension MONAIAuto3DSeg, read by its documented steps, reimplemented here."""

import csv
import io
import json
import zipfile

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import (
    Compose,
    CropForegroundd,
    Lambdad,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    ScaleIntensityRanged,
    Spacingd,
)

from medssl.packaging.auto3dseg import export_auto3dseg, label_table, preprocessing_settings
from medssl.packaging.checks.preflight import check_bundle
from medssl.packaging.inference_config import build_network
from medssl.packaging.pack import pack
from medssl.packaging.sources import source_bundles
from medssl.transforms.labels import LogitsToLabeld
from medssl.workflows.training import train_segmentation
from tests.packaging.toy_run import segmentation_run
from tests.tiny import SEGMENTATION

SMALL = {"network_def::init_filters": 8, "network_def::blocks_down": [1, 1, 1, 1]}


@pytest.fixture(scope="module")
def run(ct_list, tmp_path_factory):
    """A two-step run of a stock network with the preprocessing of the extension."""
    folder = tmp_path_factory.mktemp("stock") / "run"
    data, layers = ["ct", "auto3dseg_ct"], ["stock_network"]
    train_segmentation(
        "from_scratch", ct_list, data, folder, num_labels=1, layers=layers, overrides=SEGMENTATION | SMALL
    )
    return folder


@pytest.fixture(scope="module")
def model(run, tmp_path_factory):
    return export_auto3dseg(run, "phantom", tmp_path_factory.mktemp("models"), "1.2.0")


@pytest.fixture(scope="module")
def checkpoint(model):
    with zipfile.ZipFile(model) as archive:
        return torch.load(io.BytesIO(archive.read("model.pt")), weights_only=True)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """An oblique, left-handed scan whose spacing differs from the network's."""
    affine = np.array([[-2.9, 0.3, 0, 40], [0.3, 2.9, 0, -30], [0, 0, 4.0, 100], [0, 0, 0, 1]])
    values = np.random.default_rng(0).normal(0, 400, (40, 36, 24)).astype(np.float32)
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def read_as_the_extension(config, path):
    """The preprocessed scan: intensities of the whole scan, then turned, cropped and resampled."""
    transforms = [LoadImaged("image", ensure_channel_first=True, dtype=None)]
    low, high = config["intensity_bounds"]
    if config["normalize_mode"] in ("range", "ct"):
        transforms.append(ScaleIntensityRanged("image", low, high, b_min=-1, b_max=1, clip=False))
        transforms.append(Lambdad("image", torch.sigmoid))
    elif config["normalize_mode"] in ("meanstd", "mri"):
        transforms.append(NormalizeIntensityd("image", nonzero=True, channel_wise=True))
    if config.get("orientation_ras", False):
        transforms.append(Orientationd("image", axcodes="RAS", labels=None))
    if config.get("crop_foreground", True):
        transforms.append(CropForegroundd("image", source_key="image", margin=10, allow_smaller=True))
    if config.get("resample_resolution"):
        spacing = np.array(config["resample_resolution"])
        near = {"min_pixdim": 0.75 * spacing, "max_pixdim": 1.25 * spacing}
        transforms.append(Spacingd("image", pixdim=spacing, mode="bilinear", **near))
    return Compose(transforms)({"image": str(path)})["image"].as_tensor()


def read_as_the_run(config, path):
    parser = ConfigParser({**config, "keys": ["image"], "interpolation": ["bilinear"]})
    return Compose(parser.get_parsed_content("image_transforms"))({"image": str(path)})["image"].as_tensor()


def test_the_zip_has_the_names_that_the_extension_reads(model):
    assert model.name == "phantom-v1.2.0.zip"
    with zipfile.ZipFile(model) as archive:
        assert sorted(archive.namelist()) == ["labels.csv", "model.pt"]


def test_the_checkpoint_holds_plain_values_and_tensors(checkpoint):
    assert set(checkpoint) == {"config", "state_dict", "epoch", "best_metric"}
    assert json.loads(json.dumps(checkpoint["config"])) == checkpoint["config"]
    assert checkpoint["config"]["network"]["_target_"] == "SegResNet"


def test_the_extension_sees_the_scan_as_the_run_does(checkpoint, run, scan):
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    torch.testing.assert_close(read_as_the_extension(checkpoint["config"], scan), read_as_the_run(config, scan))


def test_the_extension_gives_the_labels_of_the_run(checkpoint, run, scan):
    network = ConfigParser(checkpoint["config"]["network"]).get_parsed_content()
    network.load_state_dict(checkpoint["state_dict"], strict=True)
    own = build_network(json.loads((run / "config.json").read_text(encoding="utf-8")))
    own.load_state_dict(torch.load(run / "model.pt", weights_only=True))
    patch = read_as_the_extension(checkpoint["config"], scan)[None, :, :16, :16, :8]
    with torch.no_grad():
        labels = torch.softmax(network.eval()(patch), dim=1).argmax(dim=1)
        logits = own.eval()(patch)
    expected = LogitsToLabeld("pred")({"pred": logits[0]})["pred"]
    assert len(expected.unique()) > 1
    torch.testing.assert_close(labels.to(torch.uint8), expected)


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_each_data_recipe_does_what_the_extension_does(modality, scan):
    names = (f"data/{modality}.yaml", f"data/auto3dseg_{modality}.yaml")
    config = ConfigParser.load_config_files([str(source_bundles() / name) for name in names])
    config["spacing"] = [6.0, 6.0, 9.0]
    image = {"keys": ["image"], "interpolation": ["bilinear"]}
    settings = preprocessing_settings(ConfigParser({**config, **image}).get_parsed_content("image_transforms"))
    assert settings["normalize_mode"] == {"ct": "ct", "mr": "meanstd"}[modality]
    torch.testing.assert_close(read_as_the_extension(settings, scan), read_as_the_run(config, scan))


def test_labels_have_names_and_codes():
    rows = list(csv.DictReader(io.StringIO(label_table({1: "left kidney", 2: "my own, odd part"}))))
    assert [(row["LabelValue"], row["Name"]) for row in rows] == [("1", "left kidney"), ("2", "my own, odd part")]
    assert rows[0]["SegmentedPropertyTypeCodeSequence.CodeValue"] == "64033007"
    assert rows[0]["SegmentedPropertyTypeModifierCodeSequence.CodeMeaning"] == "Left"
    assert rows[1]["SegmentedPropertyTypeCodeSequence.CodeValue"] == ""
    assert rows[1]["AnatomicRegionModifierSequence.CodingSchemeDesignator"] == ""


def test_a_network_of_medssl_is_refused(tmp_path):
    run = segmentation_run(tmp_path / "run")
    with pytest.raises(ValueError, match=r"SegmentationNetwork.*without medssl.*stock_network"):
        export_auto3dseg(run, "toy", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_preprocessing_that_the_extension_lacks_is_refused():
    config = ConfigParser.load_config_file(str(source_bundles() / "data/ct.yaml"))
    image = {"keys": ["image"], "interpolation": ["bilinear"]}
    transforms = ConfigParser({**config, **image}).get_parsed_content("image_transforms")
    with pytest.raises(ValueError, match=r"IntensityWindowd.*auto3dseg_ct"):
        preprocessing_settings(transforms)


@pytest.mark.parametrize(("name", "version"), [("a/b", "1.0.0"), ("brats_mine", "1.0.0"), ("mine", "1.0")])
def test_names_that_the_extension_would_misread_are_refused(name, version, run, tmp_path):
    with pytest.raises(ValueError, match=r"cannot name a model|three numbers"):
        export_auto3dseg(run, name, tmp_path, version)


def test_an_existing_model_is_not_touched(run, model):
    before = model.read_bytes()
    with pytest.raises(FileExistsError, match="another version"):
        export_auto3dseg(run, "phantom", model.parent, "1.2.0")
    assert model.read_bytes() == before


def test_a_stock_network_can_be_packed_as_a_bundle_too(run, tmp_path):
    assert check_bundle(pack(run, "stock", tmp_path)) == []


def test_a_stock_network_has_nothing_to_probe(ct_list, tmp_path):
    with pytest.raises(ValueError, match="SegResNet has no backbone"):
        train_segmentation("linear_probe", ct_list, ["ct"], tmp_path / "run", layers=["stock_network"])
