import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer

from medssl.networks.fpn import FPN
from medssl.probe.windows import central_features

PATCH = (8, 8, 4)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return FPN(spatial_dims=3, base_channels=4, num_levels=2).eval()


@pytest.fixture(scope="module")
def case():
    """An image and a label map."""
    label = np.zeros((14, 11, 9), dtype=np.int64)
    return torch.rand(1, *label.shape, generator=torch.Generator().manual_seed(0)), label


def test_features_of_a_volume_are_those_of_the_most_central_window(backbone, case):
    image, label = case
    voxels = np.stack(np.unravel_index(np.arange(label.size), label.shape), axis=1)
    features = central_features(backbone, image, voxels, PATCH, overlap=0.5)
    windows = {}

    def remember(window):
        # The first channel of the position-coded image tells where the window lies.
        windows[int(window.flatten()[0])] = window
        return torch.zeros_like(window)

    index = torch.arange(label.size, dtype=torch.float32).reshape(1, 1, *label.shape)
    SlidingWindowInferer(PATCH, 1, 0.5)(index, remember)
    corners = np.stack(np.unravel_index(sorted(windows), label.shape), axis=1)
    centres = corners + (np.array(PATCH) - 1) / 2
    for voxel in ((0, 0, 0), (7, 5, 4), (13, 10, 8), (6, 9, 2)):
        corner = corners[np.square(centres - voxel).sum(axis=1).argmin()]
        window = image[(slice(None), *(slice(c, c + s) for c, s in zip(corner, PATCH, strict=True)))]
        with torch.no_grad():
            pyramid = backbone(window[None])
        local = np.array(voxel) - corner
        expected = np.concatenate([level[(0, slice(None), *(local // 2**i))] for i, level in enumerate(pyramid)])
        row = features[np.ravel_multi_index(voxel, label.shape)]
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)


def test_windows_without_a_chosen_voxel_are_not_computed():
    seen = []

    def backbone(window):
        seen.extend(window)
        return [window]

    central_features(backbone, torch.rand(1, 40, 8), np.array([[1, 1], [2, 3]]), (8, 8))
    assert len(seen) == 1


def test_windows_come_in_pairs_and_the_last_is_never_alone():
    sizes = []

    def backbone(windows):
        sizes.append(len(windows))
        return [windows]

    image = torch.rand(1, 40, 8)
    voxels = np.array([[row, 0] for row in range(40)])
    features = central_features(backbone, image, voxels, (8, 8), overlap=0)
    assert sizes == [2, 3]
    np.testing.assert_array_equal(features[:, 0], image[0, :, 0])


def test_progress_moves_within_a_case(capsys):
    central_features(lambda x: [x], torch.rand(1, 40, 8), np.array([[1, 1], [30, 3]]), (8, 8), title="Features of a")
    shown = capsys.readouterr().err
    assert "Features of a" in shown and "window" in shown
