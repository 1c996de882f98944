import numpy as np
import pytest
import torch

from medssl.networks.fpn import FPN
from medssl.probe.cache import FeatureCache, module_digest


class Counting(torch.nn.Module):
    """A pyramid of one level, the image itself, that counts its windows."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.windows = 0

    def forward(self, x):
        self.windows += len(x)
        return [x * self.scale]


@pytest.fixture
def scan():
    image = torch.arange(24 * 24, dtype=torch.float32).reshape(1, 24, 24)
    label = torch.zeros(1, 24, 24, dtype=torch.uint8)
    label[:, 4:12, 4:12] = 1
    return image, label


def features_of(folder, backbone, **changes):
    settings = {"patch_size": (8, 8), "num_classes": 1, "overlap": 0.0, "rows_per_volume": 200, **changes}
    return FeatureCache(folder, backbone, **settings)


def test_rows_hold_the_feature_and_the_label_of_the_same_voxel(tmp_path, scan):
    rows = features_of(tmp_path, Counting()).volume("scan", *scan)
    voxels = rows.features[:, 0].astype(int)
    np.testing.assert_array_equal(scan[1].numpy().ravel()[voxels], rows.labels)
    assert rows.counts.tolist() == [200]


def test_the_same_label_computes_nothing(tmp_path, scan):
    first = features_of(tmp_path, Counting()).volume("scan", *scan)
    backbone = Counting()
    again = features_of(tmp_path, backbone).volume("scan", *scan)
    assert backbone.windows == 0
    np.testing.assert_array_equal(again.features, first.features)


def test_a_changed_label_computes_its_new_voxels_only(tmp_path, scan):
    image, label = scan
    features_of(tmp_path, Counting()).volume("scan", image, label)
    label[:, 18:20, 18:20] = 1
    backbone = Counting()
    features = features_of(tmp_path, backbone)
    rows = features.volume("scan", image, label)
    assert 0 < features.computed < 40
    assert backbone.windows < 9
    voxels = rows.features[:, 0].astype(int)
    np.testing.assert_array_equal(label.numpy().ravel()[voxels], rows.labels)


@pytest.mark.parametrize("change", ["scan", "backbone", "windows"])
def test_another_scan_backbone_or_window_computes_anew(tmp_path, scan, change):
    image, label = scan
    features_of(tmp_path, Counting()).volume("scan", image, label)
    backbone = Counting()
    if change == "backbone":
        backbone.scale.data += 1
    settings = {"patch_size": (12, 12)} if change == "windows" else {}
    features = features_of(tmp_path, backbone, **settings)
    features.volume("scan", image + (change == "scan"), label)
    assert features.computed == 200


def test_features_are_those_of_the_network_in_its_windows(tmp_path):
    torch.manual_seed(0)
    backbone = FPN(spatial_dims=2, base_channels=4, num_levels=2).eval()
    image = torch.rand(1, 8, 8)
    rows = features_of(tmp_path, backbone).volume("scan", image, torch.zeros(1, 8, 8))
    fine, coarse = (level[0].detach() for level in backbone(image[None]))
    dense = torch.cat([fine, coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)]).flatten(1).T
    found = torch.from_numpy(rows.features.astype(np.float32))
    distance = torch.cdist(found, dense)
    assert distance.min(dim=1).values.max() < 5e-3


def test_a_damaged_file_is_computed_again(tmp_path, scan):
    features_of(tmp_path, Counting()).volume("scan", *scan)
    (path,) = tmp_path.glob("*.features.npy")
    path.write_bytes(path.read_bytes()[:100])
    features = features_of(tmp_path, Counting())
    features.volume("scan", *scan)
    assert features.computed == 200


def test_features_of_a_volume_that_are_not_finite_are_refused(tmp_path, scan):
    backbone = Counting()
    backbone.scale.data[:] = torch.nan
    with pytest.raises(FloatingPointError, match="case scan that are not finite, at 200 of 200 voxels"):
        features_of(tmp_path, backbone).volume("scan", *scan)
    assert not list(tmp_path.iterdir())


def test_fewer_voxels_are_read_and_more_computed_in_part(tmp_path, scan):
    features_of(tmp_path, Counting()).volume("scan", *scan)
    features = features_of(tmp_path, Counting())
    few = features.volume("scan", *scan, num_voxels=100)
    assert (len(few.labels), features.computed) == (100, 0)
    more = features.volume("scan", *scan, num_voxels=300)
    assert (len(more.labels), features.computed) == (300, 100)
    np.testing.assert_array_equal(scan[1].numpy().ravel()[more.features[:, 0].astype(int)], more.labels)


def test_voxels_of_a_former_label_stay(tmp_path, scan):
    image, label = scan
    features = features_of(tmp_path, Counting())
    features.volume("scan", image, label)
    features.volume("scan", image, torch.roll(label, 10, dims=2))
    before = features.computed
    features.volume("scan", image, label)
    assert features.computed == before


def test_the_hash_follows_the_weights():
    network = torch.nn.Linear(2, 2)
    before = module_digest(network).hexdigest()
    network.weight.data[0, 0] += 1
    assert module_digest(network).hexdigest() != before
