import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from medssl.transforms.intensity import RandBezierIntensityd, RandBlurOrSharpend, RandIntensityWindowd
from medssl.transforms.local import RandLocalInpaintd, RandLocalShuffled
from medssl.transforms.patches import RandOverlappingPatchesd

# Volume, patch: larger, equal, smaller along some axis, in 2D and 3D.
SIZES = [
    ((30, 24, 18), (16, 16, 8)),
    ((16, 16, 8), (16, 16, 8)),
    ((11, 24, 5), (16, 16, 8)),
    ((9, 9, 5), (16, 16, 8)),
    ((40, 30), (16, 12)),
    ((13, 30), (16, 12)),
]


def case(shape: tuple[int, ...], seed: int = 0) -> dict:
    """A volume whose intensities are the numbers of its voxels, from 1, and a random body."""
    image = torch.arange(1.0, np.prod(shape) + 1).reshape(1, *shape)
    body = torch.from_numpy(np.random.default_rng(seed).random((1, *shape)) < 0.4)
    return {"image": MetaTensor(image), "foreground": body, "case": "a"}


def read(patch: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
    return patch[0][tuple(voxels.T)]


@pytest.mark.parametrize(("shape", "patch"), SIZES)
def test_shared_voxels_are_the_same_body_voxels_of_the_volume(shape, patch):
    volume = case(shape)
    cut = RandOverlappingPatchesd(patch, num_voxels=50)
    for seed in range(20):
        sample = cut.set_random_state(seed=seed)(volume)
        numbers = read(sample["clean_1"], sample["voxels_1"])
        torch.testing.assert_close(read(sample["clean_2"], sample["voxels_2"]), numbers)
        assert volume["foreground"].flatten()[numbers.long() - 1].all()
        assert 1 <= len(numbers) <= 50
        assert len(numbers.unique()) == len(numbers)


@pytest.mark.parametrize(("shape", "patch"), SIZES)
def test_patches_are_cut_from_the_volume_and_surrounded_by_zeros(shape, patch):
    volume = case(shape)
    sample = RandOverlappingPatchesd(patch).set_random_state(seed=3)(volume)
    for clean in (sample["clean_1"], sample["clean_2"]):
        assert clean.shape == (1, *patch)
        inside = clean[0].nonzero()
        low, high = inside.min(dim=0).values, inside.max(dim=0).values + 1
        assert (high - low).tolist() == [min(s, p) for s, p in zip(shape, patch, strict=True)]
        spare = [max(p - s, 0) for s, p in zip(shape, patch, strict=True)]
        assert low.tolist() == [n // 2 for n in spare]
        box = clean[0][tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        start = np.unravel_index(int(box.flatten()[0]) - 1, shape)
        region = tuple(slice(a, a + n) for a, n in zip(start, box.shape, strict=True))
        torch.testing.assert_close(box, volume["image"].as_tensor()[0][region])


def test_views_are_separate_copies_of_the_clean_patches():
    volume = case((20, 20, 20))
    sample = RandOverlappingPatchesd((8, 8, 8)).set_random_state(seed=0)(volume)
    for number in (1, 2):
        view, clean = sample[f"view_{number}"], sample[f"clean_{number}"]
        torch.testing.assert_close(view, clean)
        view.zero_()
        assert clean.any()
    torch.testing.assert_close(volume["image"], case((20, 20, 20))["image"])


def test_sample_holds_plain_float32_views_long_voxels_and_the_case():
    sample = RandOverlappingPatchesd((8, 8)).set_random_state(seed=0)({**case((20, 20)), "label": 1})
    assert set(sample) == {"case", "view_1", "view_2", "clean_1", "clean_2", "voxels_1", "voxels_2"}
    assert sample["case"] == "a"
    for name, value in sample.items():
        if name != "case":
            assert type(value) is torch.Tensor
            assert value.dtype == (torch.long if name.startswith("voxels") else torch.float32)


@pytest.mark.parametrize(("shape", "patch"), [((20, 30), (16, 16)), ((11, 24, 20), (16, 16, 8))])
def test_augmenting_the_views_leaves_the_rest_of_the_sample_and_the_volume(shape, patch):
    views, volume = ["view_1", "view_2"], case(shape)
    volume["image"] = volume["image"] / volume["image"].numel()
    before = volume["image"].clone()
    augment = Compose(
        [
            RandOverlappingPatchesd(patch),
            RandLocalShuffled(views, prob=1, num_blocks=40),
            RandBezierIntensityd(views, prob=1),
            RandLocalInpaintd(views, continue_prob=1),
            RandBlurOrSharpend(views, prob=1),
            RandIntensityWindowd(views, prob=1),
        ]
    ).set_random_state(seed=0)
    sample = augment(volume)
    shared = [read(sample[f"clean_{i}"], sample[f"voxels_{i}"]) for i in (1, 2)]
    assert torch.equal(*shared)
    assert torch.equal(volume["image"], before)
    assert all((sample[f"view_{i}"] != sample[f"clean_{i}"]).any() for i in (1, 2))


def test_all_channels_are_cut_alike():
    volume = case((20, 20))
    volume["image"] = torch.cat([volume["image"], 2 * volume["image"]])
    clean = RandOverlappingPatchesd((8, 8)).set_random_state(seed=0)(volume)["clean_1"]
    torch.testing.assert_close(clean[1], 2 * clean[0])


def test_a_seed_decides_everything():
    cut, volume = RandOverlappingPatchesd((8, 8, 4)), case((30, 30, 30))
    first = cut.set_random_state(seed=5)(volume)
    again = cut.set_random_state(seed=5)(volume)
    other = cut.set_random_state(seed=6)(volume)
    assert all(torch.equal(first[name], again[name]) for name in first if name != "case")
    assert not torch.equal(first["clean_1"], other["clean_1"])


def test_few_voxels_are_drawn_evenly_from_a_large_overlap():
    volume = {"image": torch.arange(4096.0).reshape(1, 64, 64), "foreground": torch.ones(1, 64, 64, dtype=torch.bool)}
    cut = RandOverlappingPatchesd((64, 64), num_voxels=64).set_random_state(seed=0)
    counts = torch.zeros(4096)
    for _ in range(1000):
        voxels = cut(volume)["voxels_1"]
        assert len(voxels.unique(dim=0)) == 64
        counts[voxels[:, 0] * 64 + voxels[:, 1]] += 1
    # 15.6 draws are expected of each voxel: chi-squared per degree of freedom is 1 - 64/4096, give or take 0.02.
    assert (counts - counts.mean()).square().mean() / counts.mean() == pytest.approx(1, abs=0.1)


def test_all_of_a_small_overlap_is_listed():
    foreground = torch.zeros(1, 20, 20, dtype=torch.bool)
    foreground[:, 9:11, 9:12] = True
    volume = {"image": case((20, 20))["image"], "foreground": foreground}
    sample = RandOverlappingPatchesd((20, 20)).set_random_state(seed=0)(volume)
    assert len(sample["voxels_1"]) == 6


def test_a_single_body_voxel_is_found_in_a_large_volume():
    foreground = torch.zeros(1, 60, 60, 60, dtype=torch.uint8)
    foreground[0, 59, 0, 31] = 1
    volume = {"image": torch.zeros(1, 60, 60, 60), "foreground": foreground}
    volume["image"][0, 59, 0, 31] = 7
    sample = RandOverlappingPatchesd((8, 8, 8)).set_random_state(seed=0)(volume)
    assert read(sample["clean_1"], sample["voxels_1"]).tolist() == [7]
    assert read(sample["clean_2"], sample["voxels_2"]).tolist() == [7]


def test_boxes_are_uniform_among_those_that_contain_the_anchor():
    foreground = torch.zeros(1, 100, 4, dtype=torch.bool)
    foreground[0, 50, 0] = True
    volume = {"image": torch.arange(400.0).reshape(1, 100, 4), "foreground": foreground}
    cut = RandOverlappingPatchesd((10, 4)).set_random_state(seed=0)
    starts = np.array(
        [[int(sample[f"clean_{i}"][0, 0, 0]) // 4 for i in (1, 2)] for sample in map(cut, [volume] * 2000)]
    )
    for column in starts.T:
        values, counts = np.unique(column, return_counts=True)
        assert values.tolist() == list(range(41, 51))
        assert counts.min() > 150
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.1


def test_an_empty_body_is_an_error():
    volume = {**case((10, 10)), "foreground": torch.zeros(1, 10, 10, dtype=torch.bool)}
    with pytest.raises(ValueError, match="empty"):
        RandOverlappingPatchesd((4, 4))(volume)


def test_a_patch_of_other_axes_than_the_volume_is_an_error():
    with pytest.raises(ValueError, match=r"patch_size \[4, 4\].*\(1, 10, 10, 10\)"):
        RandOverlappingPatchesd((4, 4))(case((10, 10, 10)))


@pytest.mark.parametrize(("shape", "patch"), SIZES)
def test_integers_with_an_intensity_are_cut_as_what_they_stand_for(shape, patch):
    volume = case(shape)
    volume["image"] = torch.randint(-32768, 32767, (1, *shape), dtype=torch.int16)
    as_float = {**volume, "image": volume["image"].float() * 0.5 + 3}
    cut = RandOverlappingPatchesd(patch, num_voxels=20)
    ours, plain = (cut.set_random_state(seed=1)(v) for v in ({**volume, "intensity": (0.5, 3.0)}, as_float))
    assert set(ours) == set(plain)
    assert all(torch.equal(ours[key], plain[key]) for key in ours if key != "case")
