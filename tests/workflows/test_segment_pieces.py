import nibabel as nib
import numpy as np
import pytest

from medssl.workflows.segment_pieces import in_one_piece


@pytest.fixture
def write(tmp_path):
    def mask(name, *boxes):
        voxels = np.zeros((12, 12, 12), np.uint8)
        for value, start, stop in boxes:
            voxels[(slice(start, stop),) * 3] = value
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / f"{name}.nii.gz")
        return tmp_path / f"{name}.nii.gz"

    return mask


def test_a_structure_in_two_pieces_in_one_mask_is_not_one_piece(write):
    masks = [write("whole", (1, 0, 4), (2, 5, 8)), write("parted", (1, 0, 4), (2, 5, 8), (2, 9, 12))]
    assert in_one_piece(masks, [1, 2]) == [1]
    assert in_one_piece(masks[:1], [1, 2]) == [1, 2]


def test_a_slip_of_the_pen_is_no_piece(write):
    assert in_one_piece([write("slip", (1, 0, 4), (1, 9, 10))], [1]) == [1]


def test_pieces_that_touch_at_a_corner_are_one(write):
    assert in_one_piece([write("corner", (1, 0, 4), (1, 4, 8))], [1]) == [1]


def test_a_mask_without_the_structure_says_nothing(write):
    assert in_one_piece([write("one", (1, 0, 4)), write("other", (2, 0, 4))], [1, 2]) == [1, 2]
