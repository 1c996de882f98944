"""The inference configurations in the source tree, without a run."""

import json

import numpy as np
import pytest
from monai.bundle import ConfigParser
from monai.inferers import SlidingWindowInferer

from medssl.evaluation.inferer import PlannedInferer
from medssl.networks.heads import LinearHead, NonLinearHead
from medssl.packaging.metadata import REQUIRED_KEYS, SCHEMA
from medssl.packaging.sources import source_bundles
from medssl.scans.loading import VerifiedLoadImaged
from tests.scans.files import hounsfield, save_nifti

ROOT = source_bundles()
SETTINGS = {"num_classes": 2, "class_names": {"1": "liver", "2": "spleen"}, "base_channels": 4, "num_levels": 2}


def parser_of(*files: str) -> ConfigParser:
    parser = ConfigParser(ConfigParser.load_config_files([str(ROOT / file) for file in files]))
    parser.update(SETTINGS)
    return parser


@pytest.mark.parametrize(("setting", "head"), [("linear_probe", LinearHead), ("fine_tune", NonLinearHead)])
def test_each_setting_has_its_head(setting, head):
    parser = parser_of("segmentation/configs/inference.yaml", f"segmentation/configs/inference_{setting}.yaml")
    assert isinstance(parser.get_parsed_content("network_def").head, head)


@pytest.mark.parametrize("bundle", ["segmentation", "pretrain"])
@pytest.mark.parametrize("data", ["ct", "mr"])
def test_windows_have_the_size_of_training_patches(bundle, data):
    parser = parser_of(f"{bundle}/configs/inference.yaml", f"data/{data}.yaml")
    inferer = parser.get_parsed_content("inferer")
    assert isinstance(inferer, SlidingWindowInferer)
    assert list(inferer.roi_size) == parser["patch_size"]


def test_widgets_of_monai_label_control_the_inferer():
    parser = parser_of("segmentation/configs/inference.yaml", "data/ct.yaml")
    parser["displayable_configs::overlap"] = 0.75
    assert parser.get_parsed_content("inferer").overlap == 0.75


def test_widgets_control_the_fast_inferer_too():
    names = ("inference", "fast_inference", "inference_linear_probe")
    parser = parser_of(*(f"segmentation/configs/{name}.yaml" for name in names), "data/ct.yaml")
    parser["displayable_configs::memory_gib"] = 1.5
    inferer = parser.get_parsed_content("inferer")
    assert isinstance(inferer, PlannedInferer)
    assert (inferer.memory_gib, inferer.sw_batch_size) == (1.5, parser["sw_batch_size"])
    assert (inferer.base_channels, inferer.stride) == (SETTINGS["base_channels"], 2)


@pytest.mark.parametrize("bundle", ["segmentation", "pretrain"])
def test_metadata_have_the_keys_of_their_schema(bundle):
    metadata = json.loads((ROOT / bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert set(REQUIRED_KEYS) <= set(metadata)
    assert metadata["schema"] == SCHEMA


@pytest.mark.parametrize("bundle", ["segmentation", "pretrain"])
@pytest.mark.parametrize("name", ["LICENSE", "docs/README.md", "configs/logging.conf"])
def test_a_bundle_has_the_files_monai_expects(bundle, name):
    assert (ROOT / bundle / name).is_file()


@pytest.mark.parametrize("bundle", ["segmentation", "pretrain"])
def test_a_scan_with_nan_is_refused_by_name_unless_the_switch_allows_it(bundle, tmp_path):
    voxels = hounsfield().astype(np.float32)
    voxels[:, :, 3] = np.nan
    path = save_nifti(tmp_path / "scan.nii.gz", voxels)
    parser = parser_of(f"{bundle}/configs/inference.yaml", "data/ct.yaml")
    parser["input"] = str(path)
    with pytest.raises(RuntimeError) as refused:
        parser.get_parsed_content("dataset")[0]
    assert f"{path} cannot be used: 120 of its voxels are NaN" in str(refused.value.__cause__)
    allowing = parser_of(f"{bundle}/configs/inference.yaml", "data/ct.yaml")
    allowing.update({"input": str(path), "allow_bad_values": True})
    steps = allowing.get_parsed_content("preprocessing").transforms
    load = next(step for step in steps if isinstance(step, VerifiedLoadImaged))
    assert np.isnan(load({"image": str(path)})["image"].numpy()).sum() == 120
