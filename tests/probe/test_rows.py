import numpy as np
import pytest
import torch
from monai.transforms import RandCropByLabelClassesd

from medssl.data.sampling import background_and_class_ratios
from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.networks.resnet import ResNet
from medssl.networks.rows import LinearHeadOnRows
from medssl.networks.segmentation import SegmentationNetwork
from medssl.probe.rows import random_corners, random_patch_rows

PATCH = (8, 8, 4)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return FPN(spatial_dims=3, base_channels=4, num_levels=2).eval()


@pytest.fixture(scope="module")
def case():
    """An image and its label map with two classes of which one is rare."""
    label = np.zeros((14, 11, 9), dtype=np.int64)
    label[2:9, 3:8, 2:6] = 1
    label[10:12, 2:4, 7:] = 2
    return torch.rand(1, *label.shape, generator=torch.Generator().manual_seed(0)), label


def test_patches_are_placed_as_monai_places_them(case):
    _, label = case
    tensor = torch.from_numpy(label)[None]
    crop = RandCropByLabelClassesd(
        "image", "label", PATCH, ratios=background_and_class_ratios(2), num_classes=3, num_samples=1500, warn=False
    )
    crop.set_random_state(1)
    # Every voxel holds its own index, so that a patch tells where it lies.
    index = torch.arange(label.size).reshape(1, *label.shape)
    theirs = [int(patch["image"].flatten()[0]) for patch in crop({"image": index, "label": tensor})]
    ours = [np.ravel_multi_index(corner, label.shape) for corner in random_corners(label, PATCH, 2, 1500, seed=0)]
    assert set(ours) <= {np.ravel_multi_index(corner, label.shape) for corner in np.ndindex(7, 4, 6)}
    means = [np.mean(np.unravel_index(found, label.shape), axis=1) for found in (ours, theirs)]
    np.testing.assert_allclose(*means, atol=0.25)


@pytest.mark.parametrize("coarser_than_the_image", [False, True])
def test_rows_of_a_patch_that_is_the_volume_have_the_logits_of_the_network(backbone, case, coarser_than_the_image):
    image, label = case
    if coarser_than_the_image:
        backbone = ResNet(spatial_dims=3, base_channels=2).eval()
    head = LinearHead(3, backbone.level_channels, num_classes=2)
    network = SegmentationNetwork(backbone, head, frozen=True).eval()
    rows = random_patch_rows(backbone, image, label, label.shape, 2, num_patches=2, rows_per_patch=10**6, seed=0)
    assert rows.counts.tolist() == [label.size] * 2
    assert set(rows.weights) == {1}
    np.testing.assert_array_equal(rows.labels, np.tile(label.ravel(), 2))
    with torch.no_grad():
        dense = network(image[None])[0].flatten(1).T
        ours = LinearHeadOnRows(head)(torch.from_numpy(rows.features))
    torch.testing.assert_close(ours, dense.repeat(2, 1), rtol=1e-5, atol=1e-6)


def test_rows_are_a_pure_function_of_the_seed(backbone, case):
    first, again, other = (random_patch_rows(backbone, *case, PATCH, 2, 4, 32, seed) for seed in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.features, other.features)


def test_every_patch_keeps_its_rows_and_stands_for_its_voxels(backbone, case):
    rows = random_patch_rows(backbone, *case, PATCH, 2, num_patches=5, rows_per_patch=32, seed=0)
    assert rows.counts.sum() == len(rows.features) == len(rows.labels) == len(rows.weights)
    for weights in np.split(rows.weights, np.cumsum(rows.counts)[:-1]):
        assert weights.sum() == pytest.approx(np.prod(PATCH), rel=1e-5)
