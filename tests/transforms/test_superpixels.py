import numpy as np
import pytest
import torch
from monai.data import CacheDataset, MetaTensor
from skimage.color import gray2rgb
from skimage.segmentation import slic
from sklearn.metrics import adjusted_rand_score
from torch.nn.functional import avg_pool3d

from medssl.data.sampling import StepBatches
from medssl.phantom.scan import phantom_case
from medssl.transforms import superpixels as module
from medssl.transforms.aligned import RandAlignedPatchesd
from medssl.transforms.superpixels import Superpixelsd, superpixels


@pytest.fixture(scope="module")
def phantom_slice():
    """An axial slice of the MR phantom, in 0..1."""
    image, _, _ = phantom_case(0, "MR", shape=(96, 96, 24), spacing=(2.35, 2.35, 8.0))
    return (image[:, :, 12] / image[:, :, 12].max()).astype(np.float32)


def grid(shape, num_regions):
    return superpixels(np.zeros(shape, np.float32), num_regions, [1.0] * len(shape))


def test_regions_follow_the_intensities_by_default(phantom_slice):
    regions = superpixels(phantom_slice, 100, (1.0, 1.0))
    assert adjusted_rand_score(grid((96, 96), 100).ravel(), regions.ravel()) < 0.9
    spread = [
        sum(phantom_slice[ids == i].var() * (ids == i).sum() for i in np.unique(ids))
        for ids in (regions, grid((96, 96), 100))
    ]
    assert spread[0] < spread[1] / 2


def test_the_compactness_of_the_public_code_would_give_a_grid(phantom_slice):
    regions = superpixels(phantom_slice, 100, (1.0, 1.0), compactness=10)
    assert adjusted_rand_score(grid((96, 96), 100).ravel(), regions.ravel()) > 0.9


def test_the_default_gives_nearly_the_regions_of_the_public_code(phantom_slice):
    stacked = slic(gray2rgb((255 * phantom_slice).astype(np.uint8)), n_segments=100, compactness=10, start_label=0)
    assert adjusted_rand_score(stacked.ravel(), superpixels(phantom_slice, 100, (1.0, 1.0)).ravel()) > 0.8


def test_units_do_not_count(phantom_slice):
    regions = superpixels(phantom_slice, 50, (1.0, 1.0))
    rescaled = superpixels((phantom_slice * 2000 - 1000).astype(np.float64), 50, (1.0, 1.0))
    assert adjusted_rand_score(regions.ravel(), rescaled.ravel()) > 0.95


def test_of_the_spacing_only_proportions_count():
    image = np.random.default_rng(1).random((12, 14, 10)).astype(np.float32)
    regions = [superpixels(image, 8, np.array([1.0, 1.0, 3.0]) * scale) for scale in (1, 2.5)]
    assert np.array_equal(*regions)


def test_regions_are_flat_across_thick_slices():
    noise = torch.rand(1, 1, 24, 24, 24, generator=torch.Generator().manual_seed(0))
    image = MetaTensor(avg_pool3d(noise, 3, 1, 1)[0], affine=np.diag([1.0, 1.0, 4.0, 1.0]))
    regions = Superpixelsd("image", (24, 24, 24), num_regions=27)({"image": image})["regions"][0]
    spread = torch.stack([(regions == i).nonzero().float().std(0) for i in regions.unique()]).mean(0)
    assert spread[2] < 0.6 * spread[:2].min()


@pytest.mark.parametrize(
    ("shape", "patch_size", "num_regions", "expected"),
    [
        ((64, 64), (64, 64), None, 100),
        ((128, 64), (64, 64), 50, 100),
        ((32, 32, 32), (16, 16, 16), 10, 80),
        ((40, 40, 40), (96, 96, 96), None, 26),
    ],
)
def test_there_are_about_as_many_regions_in_a_patch_as_asked_for(shape, patch_size, num_regions, expected):
    image = torch.zeros(1, *shape)
    regions = Superpixelsd("image", patch_size, num_regions)({"image": image})["regions"]
    assert regions.shape == image.shape and regions.dtype == torch.int32
    assert 0.6 * expected < len(regions.unique()) < 1.6 * expected


def test_channels_are_averaged(phantom_slice):
    grey = torch.from_numpy(phantom_slice)[None]
    make = Superpixelsd("image", (96, 96))
    colours = torch.cat([grey + 0.25, grey, grey - 0.25])
    same = adjusted_rand_score(*(make({"image": i})["regions"].flatten() for i in (grey, colours)))
    assert same > 0.95


def test_they_are_computed_once_an_image_not_once_a_step(monkeypatch):
    calls = []

    def counted(*args, **kwargs):
        calls.append(1)
        return slic(*args, **kwargs)

    monkeypatch.setattr(module, "slic", counted)
    images = [{"image": torch.rand(1, 16, 16), "foreground": torch.ones(1, 16, 16)} for _ in range(3)]
    cases = CacheDataset(images, Superpixelsd("image", (8, 8)), progress=False, copy_cache=False)
    batches = StepBatches(cases, RandAlignedPatchesd((8, 8)), seed=0, batch_size=4, volumes_per_batch=3)
    for step in range(5):
        assert batches[step]["regions_1"].shape == (4, 8, 8)
    assert len(calls) == 3


@pytest.mark.parametrize(("settings", "message"), [({"num_regions": 0}, "0 and 0.1"), ({"compactness": 0}, "and 0")])
def test_what_is_not_above_zero_is_refused(settings, message):
    with pytest.raises(ValueError, match=f"must be above 0, got .*{message}"):
        Superpixelsd("image", (8, 8), **settings)


def test_an_image_of_other_axes_names_the_patch_size():
    with pytest.raises(ValueError, match=r"patch_size \[8, 8\] needs an image of 2 spatial axes"):
        Superpixelsd("image", (8, 8))({"image": torch.zeros(1, 4, 4, 4)})
