"""The recipe for abdominal CT reads scans that are stored in its window as it reads whole ones."""

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser
from monai.transforms import Compose

from medssl.packaging.sources import source_bundles


def body_in_air():
    """A block of fat and muscle with bone and a bubble of gas in it, in a wide margin of air; HU, 2 x 2 x 3 mm."""
    scan = np.full((30, 28, 12), -1000.0, np.float32)
    scan[6:24, 5:23] = -100
    scan[9:21, 8:20] = 60
    scan[10:13, 9:12] = 900
    scan[15:18, 12:15] = -900
    return scan


@pytest.fixture
def prepared(tmp_path):
    """Give the sample that the recipe makes of a scan in HU."""

    def prepare(scan):
        path = tmp_path / f"{scan.min():g}.nii.gz"
        nib.save(nib.Nifti1Image(scan, np.diag([2.0, 2.0, 3.0, 1.0])), path)
        files = [source_bundles() / f"data/{name}.yaml" for name in ("ct", "abdomen_ct")]
        files.append(source_bundles() / "pretrain/configs/train.yaml")
        parser = ConfigParser(ConfigParser.load_config_files([str(file) for file in files]))
        transforms = [
            *parser.get_parsed_content("image_transforms"),
            *parser.get_parsed_content("foreground_transforms"),
        ]
        return Compose(transforms)({"image": str(path)})

    return prepare


def test_a_scan_cut_to_the_window_gives_what_the_whole_scan_gives(prepared):
    whole, cut = prepared(body_in_air()), prepared(body_in_air().clip(-125, 275))
    assert whole["image"].equal(cut["image"]) and whole["foreground"].equal(cut["foreground"])


def test_air_around_the_body_is_cut_away_and_gas_within_it_is_body(prepared):
    sample = prepared(body_in_air().clip(-125, 275))
    assert sample["image"].shape == (1, 20, 20, 12)
    assert sample["foreground"].sum() == 18 * 18 * 12


def test_the_window_becomes_0_to_1(prepared):
    image = prepared(body_in_air().clip(-125, 275))["image"].as_tensor()
    assert np.allclose(np.unique(image), [0, 0.0625, 0.4625, 1], atol=1e-6)
