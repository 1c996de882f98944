import nibabel as nib
import numpy as np
import pytest

from medssl.probe.rows import IGNORED
from medssl.workflows.segment_held_out import held_out_part, left_out_scans
from medssl.workflows.segment_training import LabelledCase

SHAPE, AFFINE = (10, 20, 40), np.diag([2.0, 1.0, 3.0, 1.0])


@pytest.fixture
def labelled(tmp_path):
    """Gives a labelled scan with boxes of structures; the value of a voxel of the scan is its slice."""

    def make(*boxes, affine=AFFINE):
        label = np.zeros(SHAPE, np.uint8)
        for value, box in boxes:
            label[box] = value
        image = np.broadcast_to(np.arange(SHAPE[2], dtype=np.int16), SHAPE)
        for name, values in (("scan", image), ("mask", label)):
            nib.save(nib.Nifti1Image(values, affine), tmp_path / f"{name}.nii.gz")
        return LabelledCase("anna", tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz", "content")

    return make


def test_the_scan_is_cut_where_the_structures_are_halved_with_a_gap_between_the_parts(labelled, tmp_path):
    case = labelled((1, np.s_[2:4, 5:7, 4:36]), (2, np.s_[6:8, 12:14, 10:30]))
    found = held_out_part(case, [1, 2], tmp_path / "part")
    (part,) = found.learn_from
    learnt, tested = nib.load(part.label), found.region
    assert learnt.shape[:2] == SHAPE[:2] and tested[:2] == np.s_[0:10, 0:20]
    assert 17 <= learnt.shape[2] <= 22 and learnt.shape[2] + tested[2].stop - tested[2].start == 38
    assert found.values == (1, 2) and found.name == "part of anna"


def test_the_part_lies_where_it_was_in_the_scan(labelled, tmp_path):
    flipped = AFFINE @ np.diag([1.0, 1.0, -1.0, 1.0])
    case = labelled((1, np.s_[2:4, 5:7, 4:36]), affine=flipped)
    (part,) = held_out_part(case, [1], tmp_path / "part").learn_from
    image, label = nib.load(part.image), nib.load(part.label)
    np.testing.assert_array_equal(image.affine, label.affine)
    whole = np.asarray(nib.load(case.label).dataobj)
    for index in np.ndindex(image.shape):
        place = np.linalg.inv(flipped) @ image.affine @ [*index, 1]
        i, j, k = np.rint(place[:3]).astype(int)
        assert image.dataobj[index] == k and label.dataobj[index] == whole[i, j, k]


def test_a_probe_learns_from_the_whole_scan_with_the_labels_of_the_same_part(labelled, tmp_path):
    case = labelled((1, np.s_[2:4, 5:7, 4:36]))
    found = held_out_part(case, [1], tmp_path / "part")
    (rest,) = found.cases("probe")
    (part,) = found.cases("fine_tune")
    whole, mask = np.asarray(nib.load(case.label).dataobj), np.asarray(nib.load(rest.label).dataobj)
    known = mask != IGNORED
    assert rest.image == case.image and (mask[known] == whole[known]).all()
    assert known.sum() == np.prod(nib.load(part.label).shape) and not known[found.region].any()


def test_a_structure_that_only_one_part_shows_does_not_count(labelled, tmp_path):
    case = labelled((1, np.s_[0:10, 0:20, 4:36]), (2, np.s_[2:3, 3:4, 0:1]))
    assert held_out_part(case, [1, 2], tmp_path / "part").values == (1,)


def test_of_a_structure_in_a_single_voxel_no_part_can_be_held_out(labelled, tmp_path):
    assert held_out_part(labelled((1, np.s_[2:3, 3:4, 0:1])), [1], tmp_path / "part") is None


def test_former_parts_are_removed_and_the_same_one_is_kept(labelled, tmp_path):
    folder = tmp_path / "part"
    first = held_out_part(labelled((1, np.s_[2:4, 5:7, 4:36])), [1], folder)
    again = held_out_part(labelled((1, np.s_[2:4, 5:7, 4:36])), [1], folder)
    assert again == first and len(list(folder.iterdir())) == 3
    held_out_part(labelled((1, np.s_[2:4, 2:19, 4:6])), [1], folder)
    assert len(list(folder.iterdir())) == 3 and not first.learn_from[0].image.exists()


def test_of_several_scans_each_is_left_out_in_turn(labelled):
    case = labelled((1, np.s_[2:4, 5:7, 4:36]))
    others = [LabelledCase(name, case.image, case.label, name) for name in "bc"]
    found = left_out_scans([case, *others], 2)
    assert [test.name for test in found] == ["anna", "b"]
    assert [[c.case for c in test.learn_from] for test in found] == [["b", "c"], ["anna", "c"]]
    assert left_out_scans([case], 2) == []
