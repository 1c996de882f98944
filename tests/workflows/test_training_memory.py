import pytest

from medssl.workflows.recipes import find_recipe, merge
from medssl.workflows.training import pretrain, train_segmentation
from medssl.workflows.training_memory import require_training_memory

HUGE = {"patch_size": [4096, 4096, 4096]}


def test_a_pretraining_whose_patches_cannot_fit_ends_before_anything_is_written(ct_list, tmp_path):
    with pytest.raises(ValueError, match=r"4096 x 4096 x 4096 voxels takes at least .* --pairs_per_batch"):
        pretrain("kats", ct_list, ["ct"], tmp_path / "run", overrides=HUGE)
    assert not (tmp_path / "run").exists()


def test_a_fine_tuning_whose_patches_cannot_fit_ends_before_anything_is_written(ct_list, tmp_path):
    with pytest.raises(ValueError, match="--patches_per_batch"):
        train_segmentation("from_scratch", ct_list, ["ct"], tmp_path / "run", overrides=HUGE)
    assert not (tmp_path / "run").exists()


def test_the_sizes_of_the_paper_are_not_refused():
    files = [find_recipe("pretrain/configs", "train"), find_recipe("pretrain/configs/methods", "kats")]
    require_training_memory(merge([*files, find_recipe("data", "ct")], {}, {}))


def test_a_solved_probe_trains_on_no_patches(ct_list):
    files = [find_recipe("segmentation/configs", name) for name in ("train", "linear_probe")]
    require_training_memory(merge([*files, find_recipe("data", "ct")], {}, HUGE))
