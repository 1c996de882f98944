import nibabel as nib
import numpy as np
import pytest

from medssl.workflows.segment_facts import MaskFacts, mask_facts
from medssl.workflows.segment_labels import find_structures, training_mask
from tests.scans.dicom_writer import save_slices
from tests.scans.files import AFFINE, hounsfield, organs
from tests.scans.structure_writer import save_seg


def mask(*values, **segments):
    return MaskFacts("", {str(value): 9 for value in values}, {str(v): n for n, v in segments.items()})


def test_numbers_become_names_and_lose_their_gaps():
    found = find_structures({"a": mask(1, 6)}, None)
    assert found.names == {1: "label_1", 2: "label_6"}
    assert found.values == {1: 1, 2: 6}
    assert found.of_case == {"a": {1: 1, 6: 2}}


def test_names_decide_where_values_differ_between_files():
    found = find_structures({"a": mask(1, 2, liver=1, spleen=2), "b": mask(1, liver=1), "c": mask(2, liver=2)}, None)
    assert set(found.names.values()) == {"liver", "spleen"}
    liver = next(value for value, name in found.names.items() if name == "liver")
    assert found.of_case["b"] == {1: liver} and found.of_case["c"] == {2: liver}
    assert found.absent() == {"spleen": ["b", "c"]}


def test_a_corrected_segmentation_of_unnamed_structures_goes_with_the_masks_that_it_came_from():
    found = find_structures({"a": mask(1, 6), "b": mask(1, 2, label_1=1, label_6=2)}, None)
    assert found.names == {1: "label_1", 2: "label_6"}
    assert found.of_case == {"a": {1: 1, 6: 2}, "b": {1: 1, 2: 2}}


def test_given_names_order_the_values_and_refuse_others_mask_by_mask():
    found = find_structures({"a": mask(1, 2), "b": mask(1, 9)}, "2=spleen,1=liver")
    assert set(found.of_case) == {"a"}
    assert "the value 9" in found.problems["b"]
    named = find_structures({"a": mask(5, Liver=5), "b": mask(1, fat=1)}, "1=liver")
    assert named.of_case == {"a": {5: 1}} and "segment 'fat'" in named.problems["b"]


@pytest.mark.parametrize(
    ("masks", "names", "words"),
    [
        ({}, None, "at least one is needed"),
        ({"a": mask(1)}, "1=liver,2=spleen", "No mask shows 2=spleen"),
        ({"a": mask(1, liver=1), "b": mask(1)}, None, "--label-names"),
        ({"a": mask(7)}, "1=liver", "the value 7"),
    ],
)
def test_what_cannot_be_understood_is_an_error(masks, names, words):
    with pytest.raises(ValueError, match=words):
        find_structures(masks, names)


def test_a_mask_with_the_values_of_training_is_used_as_it_is_and_another_is_copied(tmp_path):
    values = np.zeros((4, 4, 4), np.uint8)
    values[1], values[2] = 1, 6
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "mask.nii.gz")
    path = tmp_path / "mask.nii.gz"
    assert training_mask(path, {1: 1}, tmp_path / "copy.nii", path, {}) == path
    copied = np.asarray(nib.load(training_mask(path, {1: 1, 6: 2}, tmp_path / "copy.nii", path, {})).dataobj)
    assert (copied[1] == 1).all() and (copied[2] == 2).all() and copied[3].max() == 0


def test_dicom_segmentations_bring_names_and_are_copied_with_the_values_of_training(tmp_path):
    scan = save_slices(tmp_path / "ct", hounsfield(), AFFINE)
    masks = {"spleen": organs() == 2, "BODY": np.ones_like(organs(), bool), "Liver": organs() == 1}
    file = save_seg(tmp_path / "a.dcm", masks, AFFINE)
    facts = mask_facts(file, scan, tmp_path / "facts.json", ["liver", "spleen"])
    assert facts.segments == {"1": "spleen", "2": "Liver"} and facts.counts == {"1": 18, "2": 27}
    assert facts.warnings == ["its structures BODY are not among the labels and are left aside."]
    found = find_structures({"a": facts}, "1=liver,2=spleen")
    assert found.of_case == {"a": {1: 2, 2: 1}}
    segments = {int(value): name for value, name in facts.segments.items()}
    copied = nib.load(training_mask(file, found.of_case["a"], tmp_path / "copy.nii", scan, segments))
    assert np.array_equal(copied.dataobj, organs()) and np.allclose(copied.affine, AFFINE)
    assert "none of --label-names" in mask_facts(file, scan, tmp_path / "facts.json", ["heart"]).problem
