import json

import pytest
import torch

from medssl.data.datalist import load_few_labels, read_datalist
from medssl.data.sampling import StepBatches
from medssl.data.unlabeled import WithUnlabeled, load_unlabeled, require_unlabeled
from medssl.transforms.noise import RandClippedNoised


@pytest.fixture
def write_list(tmp_path):
    def write(num_training, num_unlabeled):
        content = {
            "name": "tiny",
            "modality": "CT",
            "labels": {"0": "background", "1": "liver"},
            "training": [{"case": f"t{i}", "image": f"t{i}.nii", "label": f"l{i}.nii"} for i in range(num_training)],
            "unlabeled": [{"case": f"u{i}", "image": f"u{i}.nii"} for i in range(num_unlabeled)],
        }
        path = tmp_path / "list.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


def names(cases):
    return {case["case"] for case in cases}


def test_the_unlabelled_section_comes_with_image_alone(write_list, tmp_path):
    cases = load_unlabeled(write_list(2, 2), num_labels=1, fold=0)
    assert cases == [{"case": f"u{i}", "image": str(tmp_path / f"u{i}.nii")} for i in range(2)]


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_the_rest_of_training_is_added_without_its_labels(write_list, fold):
    path = write_list(5, 1)
    cases = load_unlabeled(path, num_labels=2, fold=fold, with_training=True)
    labelled = names(load_few_labels(path, "training", 2, fold))
    assert names(cases) == {"u0", *(f"t{i}" for i in range(5))} - labelled
    assert all(case.keys() == {"case", "image"} for case in cases)


@pytest.mark.parametrize(
    ("num_unlabeled", "num_labels", "with_training"), [(1, None, False), (1, 2, True), (0, 1, True)]
)
def test_the_check_passes_where_there_is_an_unlabelled_case(num_unlabeled, num_labels, with_training, write_list):
    path = write_list(2, num_unlabeled)
    require_unlabeled(read_datalist(path), num_labels, with_training)
    assert len(load_unlabeled(path, num_labels, 0, with_training)) == 1


@pytest.mark.parametrize(("num_labels", "with_training"), [(1, False), (2, True), (None, True)])
def test_the_check_fails_where_there_is_none(num_labels, with_training, write_list):
    with pytest.raises(ValueError, match="no case in section 'unlabeled'"):
        require_unlabeled(read_datalist(write_list(2, 0)), num_labels, with_training)


def test_no_unlabelled_case_is_an_error_that_says_what_to_do(write_list):
    path = write_list(2, 0)
    with pytest.raises(ValueError, match=r"list\.json has no case in section 'unlabeled'.*--unlabeled_training"):
        load_unlabeled(path, num_labels=1, fold=0)
    with pytest.raises(ValueError, match="lower --labels"):
        load_unlabeled(path, num_labels=None, fold=0, with_training=True)


def test_a_batch_has_the_labelled_one_and_the_unlabelled_patches_of_the_same_step():
    labeled = [{"image": step, "case": ["a"]} for step in range(3)]
    unlabeled = [{"image": -1, "case": ["b"], "unlabeled": 10 + step, "unlabeled_noisy": 20} for step in range(3)]
    expected = {"image": 2, "case": ["a"], "unlabeled": 12, "unlabeled_noisy": 20}
    assert WithUnlabeled(labeled, unlabeled)[2] == expected


def test_a_batch_is_a_function_of_seed_and_step():
    volumes = [{"unlabeled": torch.rand(1, 6, 6), "unlabeled_noisy": torch.zeros(1, 6, 6)} for _ in range(3)]

    def batches(seed):
        unlabeled = StepBatches(volumes, RandClippedNoised("unlabeled_noisy"), seed, batch_size=2, volumes_per_batch=2)
        return WithUnlabeled([{"case": ["a"]}] * 5, unlabeled)

    first, other = batches(seed=0), batches(seed=1)
    ahead = first[4]["unlabeled_noisy"]
    assert first[3]["unlabeled_noisy"].shape == (2, 1, 6, 6)
    assert torch.equal(first[4]["unlabeled_noisy"], ahead)
    assert torch.equal(batches(seed=0)[4]["unlabeled_noisy"], ahead)
    assert not torch.equal(other[4]["unlabeled_noisy"], ahead)
