import numpy as np
import pytest
import torch

from medssl.networks.fpn import FPN
from medssl.probe import cache as module
from medssl.probe.cache import FeatureCache
from tests.tiny import files_of

OPTIONS = {"patch_size": (8, 8), "num_classes": 2, "num_patches": 3, "rows_per_patch": 20, "rows_per_volume": 40}


def make_backbone(seed=0, base_channels=4):
    torch.manual_seed(seed)
    return FPN(spatial_dims=2, base_channels=base_channels, num_levels=2)


@pytest.fixture
def case():
    label = torch.zeros(1, 12, 10, dtype=torch.uint8)
    label[0, 3:7, 2:5], label[0, 8:, 8:] = 1, 2
    return torch.rand(1, 12, 10, generator=torch.Generator().manual_seed(0)), label


@pytest.fixture
def count_passes(monkeypatch):
    """Give a function that counts the forward passes of the backbone in a call."""

    def count(cache, kind, *case):
        passes = []
        hook = cache.backbone.register_forward_hook(lambda *_: passes.append(1))
        getattr(cache, kind)("a", *case)
        hook.remove()
        return len(passes)

    return count


@pytest.mark.parametrize(("kind", "expected"), [("patches", 3), ("volume", 2)])
def test_features_are_computed_once(kind, expected, case, count_passes, tmp_path):
    assert count_passes(FeatureCache(tmp_path, make_backbone(), **OPTIONS), kind, *case) == expected
    before = files_of(tmp_path)
    assert count_passes(FeatureCache(tmp_path, make_backbone(), **OPTIONS), kind, *case) == 0
    assert files_of(tmp_path) == before


def brighter(image, label):
    return image + 1e-3, label


def relabelled(image, label):
    return image, torch.where(label == 2, 1, label)


@pytest.mark.parametrize(
    ("options", "backbone", "change"),
    [
        ({"patch_size": (8, 4)}, {}, None),
        ({"num_classes": 3}, {}, None),
        ({"num_patches": 4}, {}, None),
        ({"rows_per_patch": 19}, {}, None),
        ({}, {"seed": 1}, None),
        ({}, {"base_channels": 8}, None),
        ({}, {}, brighter),
        ({}, {}, relabelled),
    ],
)
def test_whatever_changes_former_features_are_not_served(options, backbone, change, case, count_passes, tmp_path):
    count_passes(FeatureCache(tmp_path, make_backbone(), **OPTIONS), "patches", *case)
    cache = FeatureCache(tmp_path, make_backbone(**backbone), **{**OPTIONS, **options})
    assert count_passes(cache, "patches", *(change(*case) if change else case)) > 0


def test_a_new_version_does_not_read_the_files_of_the_former(case, count_passes, monkeypatch, tmp_path):
    count_passes(FeatureCache(tmp_path, make_backbone(), **OPTIONS), "patches", *case)
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    assert count_passes(FeatureCache(tmp_path, make_backbone(), **OPTIONS), "patches", *case) == 3


def test_batch_norm_statistics_are_part_of_the_key_and_not_changed(case, count_passes, tmp_path):
    backbone = make_backbone().train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    count_passes(FeatureCache(tmp_path, backbone, **OPTIONS), "patches", *case)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    next(iter(backbone.buffers())).add_(0.1)
    assert count_passes(FeatureCache(tmp_path, backbone, **OPTIONS), "patches", *case) == 3


@pytest.mark.parametrize("killed_before", [".features.npy", ".counts.npy", ".json"])
def test_after_a_kill_while_writing_features_are_computed_again(killed_before, case, count_passes, tmp_path):
    cache = FeatureCache(tmp_path, make_backbone(), **OPTIONS)
    whole = cache.patches("a", *case)
    expected = [np.array(part) for part in whole]
    order = [".features.npy", ".counts.npy", ".json"]
    for ending in order[order.index(killed_before) :]:
        next(tmp_path.glob(f"*{ending}")).unlink()
    assert count_passes(cache, "patches", *case) == 3
    for part, again in zip(expected, cache.patches("a", *case), strict=True):
        np.testing.assert_array_equal(again, part)


def test_a_volume_smaller_than_a_patch_is_padded(tmp_path):
    cache = FeatureCache(tmp_path, make_backbone(), **OPTIONS)
    rows = cache.patches("a", torch.rand(1, 6, 9), torch.ones(1, 6, 9))
    for weights in np.split(rows.weights, np.cumsum(rows.counts)[:-1]):
        assert weights.sum() == pytest.approx(64, rel=1e-5)


def test_features_that_are_not_finite_are_an_error_and_not_kept(case, tmp_path):
    backbone = make_backbone()
    torch.nn.init.constant_(backbone.stem.weight, float("nan"))
    with pytest.raises(FloatingPointError, match="case a that are not finite"):
        FeatureCache(tmp_path, backbone, **OPTIONS).patches("a", *case)
    assert files_of(tmp_path) == {}
