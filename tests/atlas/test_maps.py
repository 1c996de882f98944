import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from medssl.atlas.descriptor import self_similarity
from medssl.atlas.fields import pooled
from medssl.atlas.maps import RegistrationMaps, cell_factor
from medssl.networks.fpn import FPN
from medssl.ops.pyramid import interpolate_voxels


@pytest.fixture
def backbone():
    return FPN(base_channels=4, num_levels=2).eval()


def test_the_first_channels_are_principal_components_of_the_features(backbone):
    image = torch.rand(1, 32, 32, 32)
    cells = pooled(image, 2)
    places = np.stack(np.unravel_index(np.arange(16**3), (16, 16, 16)), axis=1)
    with torch.no_grad():
        rows = interpolate_voxels(
            backbone(cells[None]), torch.from_numpy(np.insert(places, 0, 0, axis=1)), (16, 16, 16), "linear"
        ).numpy()
    wanted = PCA(3, whiten=True).fit_transform(rows.astype(np.float64)).T.reshape(3, 16, 16, 16)
    found = RegistrationMaps(backbone, (16, 16, 16), 2, image, num_components=3)(image)[:3].numpy() * 3
    for ours, theirs in zip(found, wanted, strict=True):
        # The sign of a component is arbitrary.
        sign = np.sign((ours * theirs).sum())
        np.testing.assert_allclose(sign * ours, theirs.clip(-3, 3), atol=0.05)


def test_the_last_channels_are_the_self_similarity_of_the_cells(backbone):
    image = torch.rand(1, 16, 18, 20)
    found = RegistrationMaps(backbone, (8, 8, 8), 2, image, num_components=3)(image)
    torch.testing.assert_close(found[3:], self_similarity(pooled(image, 2)))


def test_features_that_are_not_finite_are_refused(backbone):
    torch.nn.init.constant_(next(backbone.parameters()), float("nan"))
    with pytest.raises(FloatingPointError, match="not finite"):
        RegistrationMaps(backbone, (8, 8, 8), 1, torch.rand(1, 8, 8, 8), num_components=3)


def test_a_scan_of_one_value_has_a_finite_map(backbone):
    image = torch.ones(1, 16, 16, 16)
    assert torch.isfinite(RegistrationMaps(backbone, (8, 8, 8), 1, image, num_components=3)(image)).all()


def test_scans_of_half_the_voxel_length_get_cells_of_twice_as_many_voxels():
    assert cell_factor([(150, 134, 94)]) == 2
    assert cell_factor([(300, 268, 188)]) == 2 * cell_factor([(150, 134, 94)])
