import numpy as np
import pytest
import torch

from medssl.phantom.label_maps import AIR, random_label_map
from medssl.phantom.synthetic import SyntheticVolumes

PATCH = (32, 32, 24)
SHAPE = (48, 48, 36)


@pytest.fixture(scope="module")
def cases():
    volumes = SyntheticVolumes(PATCH)
    return [volumes[index] for index in range(12)]


def test_a_case_depends_on_the_seed_and_its_number_alone(cases):
    fresh = SyntheticVolumes(PATCH)
    for index in (5, 2):
        assert torch.equal(fresh[index]["image"], cases[index]["image"])
        assert torch.equal(fresh[index]["foreground"], cases[index]["foreground"])
    assert not torch.equal(SyntheticVolumes(PATCH, seed=1)[2]["image"], cases[2]["image"])
    assert not torch.equal(cases[2]["image"], cases[5]["image"])


def test_values_are_those_of_a_scaled_scan(cases):
    for case in cases:
        assert case["image"].shape == (2, *SHAPE)
        assert case["foreground"].shape == (1, *SHAPE)
        assert torch.isfinite(case["image"]).all()
        assert case["image"].min() >= 0
        assert case["image"].max() <= 1
        for channel in case["image"]:
            body = channel[case["foreground"][0]]
            assert 0.35 < body.mean() < 0.55
            assert 0.1 < body.std() < 0.25


def explained(channel, labels):
    """Share of the variance that lies between the regions."""
    count = np.bincount(labels.ravel(), minlength=256)
    mean = np.bincount(labels.ravel(), channel.ravel(), minlength=256) / np.maximum(count, 1)
    return mean[labels].var() / channel.var(), mean[count > 0]


def test_both_contrasts_show_the_same_regions_in_other_brightness(cases):
    shares, likeness = [], []
    for index, case in enumerate(cases):
        labels = random_label_map(np.random.default_rng((0, 1, index)), SHAPE)
        assert np.array_equal(labels != AIR, case["foreground"][0].numpy())
        (first, a), (second, b) = (explained(channel.numpy(), labels) for channel in case["image"])
        shares += [first, second]
        likeness.append(np.corrcoef(a, b)[0, 1])
    assert np.median(shares) > 0.5
    assert np.abs(np.mean(likeness)) < 0.5
    # Some are inverted.
    assert min(likeness) < -0.5


def test_slices():
    case = SyntheticVolumes((40, 48), room=1.25)[3]
    assert case["image"].shape == (2, 50, 60)
    assert case["foreground"].shape == (1, 50, 60)
    assert case["foreground"].any()


@pytest.mark.parametrize(("size", "room"), [((64,), 1.5), ((64, 64, 4), 1.5), ((32, 32, 32), 0.5)])
def test_patches_that_no_volume_holds_are_refused(size, room):
    with pytest.raises(ValueError, match="patch_size of two or three axes"):
        SyntheticVolumes(size, room=room)


def test_there_are_as_many_cases_as_asked_for():
    volumes = SyntheticVolumes(PATCH, num_volumes=3)
    assert len(volumes) == 3
    with pytest.raises(IndexError, match="no synthetic volume 3 among 3"):
        volumes[3]
