import numpy as np
import pytest
from PIL import Image

from medssl.scans.labels import read_label
from tests.scans.files import organs, save_itk, save_nifti

RED, BLACK = (255, 0, 0), (0, 0, 0)


def test_a_volume_holds_label_values_whatever_the_colours(tmp_path):
    for path in (save_nifti(tmp_path / "a.nii.gz", organs()), save_itk(tmp_path / "a.nrrd", organs())):
        np.testing.assert_array_equal(read_label(path, {0: BLACK, 1: RED}), organs())


def test_a_picture_of_colours_becomes_label_values(tmp_path):
    Image.fromarray(np.array([[RED, BLACK, RED]], np.uint8)).save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png", {0: BLACK, 1: RED}, 2).ravel().tolist() == [1, 0, 1]


def test_a_picture_of_values_holds_them(tmp_path):
    Image.fromarray(np.array([[2, 0, 1]], np.uint8)).save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png", None, 2).ravel().tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("colour", "cause"), [(RED, "in colours"), ((9, 9, 9), "stored as three equal channels")], ids=["colours", "grey"]
)
def test_three_channels_without_colours_are_an_error(tmp_path, colour, cause):
    Image.fromarray(np.array([[colour, BLACK]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"a\.png is a mask {cause}; say in label_colours"):
        read_label(tmp_path / "a.png", None, 2)
