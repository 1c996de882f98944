import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medssl.transforms.local import RandLocalInpaintd, RandLocalShuffled

SIZES = [(40, 24), (40, 24, 16)]


def numbered(shape: tuple[int, ...]) -> torch.Tensor:
    """An image whose intensities are the numbers of its voxels."""
    return torch.arange(float(np.prod(shape))).reshape(1, *shape)


def positions(image: torch.Tensor) -> np.ndarray:
    """Where each voxel of a shuffled `numbered` image came from, shape (*spatial, axes)."""
    shape = image.shape[1:]
    return np.stack(np.unravel_index(image[0].long().numpy(), shape), axis=-1)


@pytest.mark.parametrize("shape", SIZES)
def test_one_block_is_permuted_and_the_rest_is_kept(shape):
    block = (4, 3, 2)[: len(shape)]
    image = numbered(shape)
    shuffle = RandLocalShuffled("view_1", prob=1, num_blocks=1, block_size=block).set_random_state(seed=0)
    shuffled = shuffle({"view_1": image})["view_1"]
    changed = (shuffled != image)[0].nonzero()
    assert (changed.max(dim=0).values - changed.min(dim=0).values + 1 <= torch.tensor(block)).all()
    assert len(changed) > np.prod(block) // 2
    torch.testing.assert_close(shuffled.flatten().sort().values, image.flatten())


@pytest.mark.parametrize("shape", SIZES)
def test_voxels_stay_within_a_block_of_where_they_were(shape):
    block = (4, 3, 2)[: len(shape)]
    shuffle = RandLocalShuffled("view_1", prob=1, num_blocks=300, block_size=block).set_random_state(seed=0)
    sources = positions(shuffle({"view_1": numbered(shape)})["view_1"])
    targets = np.stack(np.indices(shape), axis=-1)
    assert (np.abs(sources - targets) < np.array(block)).all()
    assert (np.abs(sources - targets).max(axis=tuple(range(len(shape)))) == np.array(block) - 1).all()


def test_blocks_reach_every_corner():
    shuffle = RandLocalShuffled("view_1", prob=1, num_blocks=20000, block_size=(3, 3)).set_random_state(seed=0)
    changed = (shuffle({"view_1": numbered((30, 20))})["view_1"] != numbered((30, 20)))[0]
    assert changed[0].any() and changed[-1].any() and changed[:, 0].any() and changed[:, -1].any()


def test_the_defaults_touch_29_percent_of_the_papers_patch_within_slices():
    image = numbered((128, 128, 32))
    shuffled = RandLocalShuffled("view_1", prob=1).set_random_state(seed=0)({"view_1": image})["view_1"]
    moved = positions(shuffled) - np.stack(np.indices((128, 128, 32)), axis=-1)
    # A permutation of 36 leaves one voxel in place on average; the seed's own leaves up to a few.
    assert (shuffled != image).float().mean() == pytest.approx(0.29, abs=0.03)
    assert np.abs(moved).max(axis=(0, 1, 2)).tolist() == [5, 5, 0]


def test_small_patches_are_shuffled_by_default():
    image = numbered((16, 16, 8))
    shuffled = RandLocalShuffled("view_1", prob=1).set_random_state(seed=0)({"view_1": image})["view_1"]
    assert not torch.equal(shuffled, image)


def test_channels_are_shuffled_together():
    image = torch.cat([numbered((20, 20)), -numbered((20, 20))])
    shuffled = RandLocalShuffled("view_1", prob=1, block_size=(3, 3)).set_random_state(seed=0)({"view_1": image})[
        "view_1"
    ]
    torch.testing.assert_close(shuffled[1], -shuffled[0])


def test_a_block_larger_than_the_image_is_an_error():
    with pytest.raises(ValueError, match=r"block_size \[6, 6, 9\].*\[8, 8, 8\]"):
        RandLocalShuffled("view_1", prob=1, block_size=(6, 6, 9))({"view_1": numbered((8, 8, 8))})


def test_inpainted_boxes_hold_a_different_noise_value_in_every_voxel():
    inpaint = RandLocalInpaintd("view_1", continue_prob=1).set_random_state(seed=0)
    painted = inpaint({"view_1": torch.full((1, 60, 60, 20), -1.0)})["view_1"]
    noise = painted[painted != -1]
    assert noise.min() >= 0 and noise.max() < 1
    assert noise.mean() == pytest.approx(0.5, abs=0.02)
    assert noise.std() == pytest.approx(1 / 12**0.5, abs=0.02)
    assert len(noise.unique()) > 0.99 * len(noise)


def box_sizes(shape: tuple[int, ...], count: int = 200, **options) -> np.ndarray:
    """Sizes of single in-painted boxes."""
    inpaint = RandLocalInpaintd("view_1", max_boxes=1, continue_prob=1, **options).set_random_state(seed=0)
    sizes = []
    for _ in range(count):
        painted = inpaint({"view_1": torch.full((1, *shape), -1.0)})["view_1"][0] != -1
        places = painted.nonzero()
        sizes.append((places.amax(0) - places.amin(0) + 1).tolist())
        assert len(places) == np.prod(sizes[-1])
    return np.array(sizes)


def test_boxes_are_a_tenth_to_a_fifth_of_the_papers_patch():
    sizes = box_sizes((128, 128, 32))
    assert sizes.min(axis=0).tolist() == [12, 12, 3]
    assert sizes.max(axis=0).tolist() == [24, 24, 5]


def test_box_sizes_can_be_given():
    sizes = box_sizes((30, 20), min_box_size=(2, 5), max_box_size=(4, 5))
    assert sizes.min(axis=0).tolist() == [2, 5]
    assert sizes.max(axis=0).tolist() == [4, 5]


@pytest.mark.parametrize("shape", [(40, 40), (40, 40, 20)])
def test_boxes_keep_a_margin_and_reach_it(shape):
    inpaint = RandLocalInpaintd("view_1", continue_prob=1, max_boxes=2000).set_random_state(seed=0)
    painted = inpaint({"view_1": torch.full((1, *shape), -1.0)})["view_1"][0] != -1
    for axis, length in enumerate(shape):
        others = tuple(a for a in range(len(shape)) if a != axis)
        hit = painted.numpy().any(axis=others).nonzero()[0]
        assert (hit.min(), hit.max()) == (3, length - 4)


def test_boxes_fit_into_a_tiny_image():
    painted = RandLocalInpaintd("view_1", continue_prob=1).set_random_state(seed=0)(
        {"view_1": torch.full((1, 4, 4, 2), -1.0)}
    )
    assert (painted["view_1"] != -1).any()


def test_number_of_boxes_follows_the_paper():
    inpaint = RandLocalInpaintd("view_1").set_random_state(seed=0)
    counts = []
    for _ in range(1500):
        inpaint.randomize((20, 20))
        counts.append(len(inpaint.boxes))
    counts = np.array(counts)
    assert counts.mean() == pytest.approx(sum(0.95**k for k in range(1, 31)), abs=0.6)
    assert (counts == 0).mean() == pytest.approx(0.05, abs=0.015)
    assert (counts == 30).mean() == pytest.approx(0.95**30, abs=0.03)


@pytest.mark.parametrize("make", [RandLocalShuffled, RandLocalInpaintd])
class TestBoth:
    def test_views_are_augmented_differently(self, make):
        image = numbered((40, 40))
        sample = make(["view_1", "view_2"], prob=1).set_random_state(seed=0)({"view_1": image, "view_2": image})
        assert not torch.equal(sample["view_1"], sample["view_2"])

    def test_a_seed_decides_everything(self, make):
        image, transform = numbered((40, 40, 8)), make("view_1", prob=1)
        first, again, other = (transform.set_random_state(seed=s)({"view_1": image})["view_1"] for s in (5, 5, 6))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    @pytest.mark.parametrize("kind", [MetaTensor, torch.Tensor.clone])
    def test_the_input_is_kept_and_the_output_is_plain(self, make, kind):
        image = kind(numbered((40, 40, 8)))
        data = {"view_1": image, "clean_1": image}
        out = make("view_1", prob=1).set_random_state(seed=1)(data)
        assert type(out["view_1"]) is torch.Tensor
        assert out["clean_1"] is image and data["view_1"] is image
        assert torch.equal(torch.as_tensor(image).as_subclass(torch.Tensor), numbered((40, 40, 8)))
        assert not torch.equal(out["view_1"], numbered((40, 40, 8)))

    def test_images_that_are_not_contiguous_are_augmented_alike(self, make):
        image = numbered((24, 40)).transpose(1, 2)
        one, other = (
            make("view_1", prob=1).set_random_state(seed=1)({"view_1": i})["view_1"]
            for i in (image, image.clone(memory_format=torch.contiguous_format))
        )
        assert torch.equal(one, other)

    def test_probability_zero_changes_nothing(self, make):
        image = numbered((40, 40))
        assert torch.equal(make("view_1", prob=0)({"view_1": image})["view_1"], image)
