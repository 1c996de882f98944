import os
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from medssl.networks.heads import LinearHead
from medssl.networks.rows import set_map_of_rows
from medssl.packaging.loading import load_bundle
from medssl.packaging.pack import pack
from medssl.workflows.background import Background
from medssl.workflows.next_scan import NextScan
from tests.bundles.test_inference import oblique_affine, scan_and_label, write_scan
from tests.packaging.toy_run import pretraining_run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("next_scan")
    pack(pretraining_run(folder / "run"), "toy", folder / "bundles", zip_bundle=False)
    return load_bundle(folder / "bundles" / "toy_pretrain")


@pytest.fixture
def scans(tmp_path):
    """Three scans, of which the last is unlike the others."""
    write_scan(tmp_path / "a.nii.gz")
    shutil.copy(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    values, label = scan_and_label()
    nib.save(nib.Nifti1Image(np.where(label > 0, 900, values), oblique_affine()), tmp_path / "c.nii.gz")
    return {name: tmp_path / f"{name}.nii.gz" for name in "abc"}


@pytest.fixture
def following(bundle, tmp_path):
    return NextScan(bundle, tmp_path / "kept", Background())


def head_of(bundle, kernel: float):
    """A probe of one structure, whose logit is `kernel` where the finest features are above 0."""
    channels = bundle.network.backbone.level_channels
    head = LinearHead(3, channels, 1, upsampling="linear")
    set_map_of_rows(head, torch.full((1, sum(channels)), kernel), torch.zeros(1))
    return head


def test_first_by_name_then_as_soon_as_features_are_known_the_one_least_like_the_labelled(following, scans):
    assert following.choose(scans, [], None) == "a"
    following.background.wait()
    assert following.choose(scans, [], None) == "a"
    assert following.choose(scans, ["a"], None) == "c"
    assert following.choose(scans, ["a", "c"], None) == "b"
    assert following.choose(scans, scans, None) is None


def test_with_a_probe_it_is_the_scan_that_the_probe_is_least_sure_of(following, scans, bundle, monkeypatch):
    sure = {"a": 9.0, "b": 0.1, "c": 3.0}
    rows = sum(bundle.network.backbone.level_channels)
    monkeypatch.setattr(NextScan, "features", lambda self, scan: np.full((5, rows), sure[scan.name[0]] / rows))
    following.choose(scans, [], None)
    following.background.wait()
    head = head_of(bundle, 1.0)
    assert following.choose(scans, [], head) == "b"
    assert following.choose(scans, ["b"], head) == "c"


def test_a_scan_with_the_voxels_of_a_labelled_one_comes_last(following, scans, bundle, monkeypatch):
    sure = {"a": 0.1, "b": 0.1, "c": 3.0}
    rows = sum(bundle.network.backbone.level_channels)
    monkeypatch.setattr(NextScan, "features", lambda self, scan: np.full((5, rows), sure[scan.name[0]] / rows))
    following.choose(scans, [], None)
    following.background.wait()
    head = head_of(bundle, 1.0)
    assert following.choose(scans, ["a"], head) == "c"
    assert following.choose(scans, ["a", "c"], head) == "b"


def test_features_are_kept_until_the_scan_changes(following, bundle, scans, monkeypatch):
    following.choose(scans, [], None)
    following.background.wait()
    computed = []
    monkeypatch.setattr(NextScan, "features", lambda self, scan: computed.append(scan) or np.zeros((2, 3)))
    again = NextScan(bundle, following.folder, following.background)
    assert again.choose(scans, ["a"], None) == "c"
    following.background.wait()
    assert computed == []
    os.utime(scans["b"], ns=(0, 0))
    again.choose(scans, ["a"], None)
    following.background.wait()
    assert computed == [scans["b"]]


def test_a_scan_that_cannot_be_read_is_left_to_the_end(following, scans):
    scans["c"].write_bytes(b"no scan")
    following.choose(scans, [], None)
    following.background.wait()
    assert following.choose(scans, ["a"], None) == "b"
    assert following.choose(scans, ["a", "b"], None) == "c"


def test_the_features_are_those_of_the_backbone(following, bundle, scans):
    found = following.features(scans["a"])
    assert found.shape[1] == sum(bundle.network.backbone.level_channels)
    image = bundle.preprocessing()({"image": str(scans["a"])})["image"].as_tensor()[None]
    more = [(-size) % bundle.network.backbone.strides[-1] for size in image.shape[2:]]
    padded = torch.nn.functional.pad(image, [side for size in more[::-1] for side in (size // 2, size - size // 2)])
    with torch.no_grad():
        finest = bundle.network.backbone(padded)[0][0].flatten(1).T.numpy()
    distances = np.abs(found[:20, None, : finest.shape[1]] - finest[None]).max(axis=2).min(axis=1)
    assert distances.max() < 1e-4
