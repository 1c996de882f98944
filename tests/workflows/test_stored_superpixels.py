"""The superpixels of SuperCL come from a volume store as they come without one."""

import pytest
import torch

from medssl.data.datalist import load_section
from medssl.data.store import StoreDataset, preprocessing_sha256
from medssl.transforms import superpixels as module
from medssl.workflows.preparing import prepare
from medssl.workflows.preprocessing import preprocessing_of, preprocessing_transform
from medssl.workflows.recipes import find_recipe, merge
from medssl.workflows.training import pretrain
from tests.tiny import SIZES

OVERRIDES = {**SIZES, "base_channels": 4, "num_levels": 2, "pairs_per_batch": 2, "num_voxels": 16, "num_regions": 8}
PREPARED = {key: OVERRIDES[key] for key in ("spacing", "patch_size", "num_regions")}


@pytest.fixture
def config():
    recipe = [("pretrain/configs", "train"), ("pretrain/configs/methods", "supercl"), ("data", "ct")]
    return merge([find_recipe(*file) for file in recipe], {}, PREPARED)


@pytest.fixture(scope="module")
def store(ct_list, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    assert not prepare(ct_list, ["ct", "superpixels"], folder, num_processes=1, overrides=PREPARED).failed
    return folder


def test_a_store_holds_the_regions_that_preprocessing_gives(config, store, ct_list):
    cases = load_section(ct_list, "training")
    stored = StoreDataset(store, cases, preprocessing_sha256(preprocessing_of(config)))
    plain = preprocessing_transform(config)(cases[0])
    assert torch.equal(stored[0]["regions"], plain["regions"])


def test_pretraining_from_a_store_computes_no_superpixels(store, ct_list, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("superpixels were computed again")

    monkeypatch.setattr(module, "slic", refuse)
    weights = pretrain("supercl", ct_list, ["ct"], tmp_path / "run", overrides=OVERRIDES, store=store)
    assert weights.is_file()
