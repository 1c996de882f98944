import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from medssl.networks.features import DenseFeatures
from medssl.networks.resnet import ResNet
from medssl.packaging.loading import LoadedBundle
from medssl.packaging.pack import pack
from medssl.workflows.recipes import find_recipe, merge
from medssl.workflows.similarity import similarity
from tests.bundles.test_inference import SHAPE, oblique_affine, scan_and_label, write_scan, write_scan_with_nan
from tests.packaging.toy_run import segmentation_run


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("similarity")
    pack(segmentation_run(folder / "run"), "toy", folder / "bundle", zip_bundle=False)
    write_scan(folder / "scan.nii.gz")
    return folder


@pytest.fixture(scope="module")
def bundle(work):
    (folder,) = (work / "bundle").iterdir()
    return folder


@pytest.fixture(scope="module")
def clicked():
    """A point in the middle of the organ, in mm."""
    _, label = scan_and_label()
    index = np.argwhere(label == 2).mean(axis=0).round()
    return tuple(nib.affines.apply_affine(oblique_affine(), index).tolist())


@pytest.fixture(scope="module")
def written(work, bundle, clicked):
    return similarity(work / "scan.nii.gz", clicked, bundle, work / "out")


def test_the_map_is_on_the_grid_of_the_scan(written):
    image = nib.load(written[0])
    assert image.shape == SHAPE
    np.testing.assert_allclose(image.affine, oblique_affine(), atol=1e-4)
    assert written[1].read_bytes().startswith(b"\x89PNG")


def test_the_clicked_point_is_as_similar_as_anything(written, clicked):
    image = nib.load(written[0])
    heat = image.get_fdata()
    index = np.linalg.inv(image.affine) @ np.array([*clicked, 1])
    assert heat[tuple(index[:3].round().astype(int))] == pytest.approx(heat.max(), abs=0.05)


def test_the_same_scan_as_another_one_gives_the_same_map(work, bundle, written, clicked):
    twin = work / "twin.nii.gz"
    twin.write_bytes((work / "scan.nii.gz").read_bytes())
    volume, _ = similarity(work / "scan.nii.gz", clicked, bundle, work / "out", other=twin)
    assert volume.name == "twin_similarity.nii.gz"
    np.testing.assert_array_equal(nib.load(volume).get_fdata(), nib.load(written[0]).get_fdata())


def test_a_point_outside_the_body_is_refused(work, bundle):
    with pytest.raises(ValueError, match=r"The point \(900\.0, 0\.0, 0\.0\) is not in the body in .*scan\.nii\.gz"):
        similarity(work / "scan.nii.gz", (900.0, 0.0, 0.0), bundle, work / "elsewhere")
    assert not (work / "elsewhere").exists()


def test_a_folder_that_is_no_bundle_is_refused(work):
    with pytest.raises(FileNotFoundError, match="give the folder of a bundle"):
        similarity(work / "scan.nii.gz", (0.0, 0.0, 0.0), work, work / "elsewhere")


def test_a_point_of_a_picture_is_found_where_slicer_shows_it(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cells.png")
    torch.manual_seed(0)
    backbone = ResNet(spatial_dims=2, base_channels=4).eval()
    config = merge([find_recipe("data", "image_2d")], {"keys": ["image"], "patch_size": [30, 20]})
    bundle = LoadedBundle(tmp_path, {**config, "interpolation": ["bilinear"]}, DenseFeatures(backbone))
    monkeypatch.setattr("medssl.workflows.similarity.load_bundle", lambda folder, trust: bundle)
    volume, picture = similarity(tmp_path / "cells.png", (-24.0, -4.0, 0.0), tmp_path, tmp_path)
    found = nib.load(volume)
    # Cells of the finest level are 2 pixels wide.
    assert [int(i) // 2 for i in np.unravel_index(found.get_fdata().argmax(), found.shape)] == [12, 2]
    np.testing.assert_array_equal(found.affine, np.diag([-1, -1, 1, 1]))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_damaged_scan_is_named(work, bundle):
    cut = work / "cut.nii.gz"
    cut.write_bytes((work / "scan.nii.gz").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"cut\.nii\.gz"):
        similarity(cut, (0.0, 0.0, 0.0), bundle, work / "elsewhere")
    assert not (work / "elsewhere").exists()


def test_shipped_weights_compare_points_by_their_name(ct_list, tmp_path):
    scan = sorted(ct_list.parent.rglob("*000*.nii.gz"))[0]
    volume, picture = similarity(scan, (0.0, 0.0, 0.0), "abdomen-ct", tmp_path)
    assert nib.load(volume).shape == nib.load(scan).shape and picture.is_file()


def test_a_scan_with_nan_is_refused_by_name_and_leaves_nothing(bundle, clicked, tmp_path):
    write_scan_with_nan(tmp_path / "bad.nii.gz")
    with pytest.raises((ValueError, RuntimeError)) as refused:
        similarity(tmp_path / "bad.nii.gz", clicked, bundle, tmp_path / "out")
    assert f"{tmp_path / 'bad.nii.gz'} cannot be used: " in f"{refused.value}{refused.value.__cause__}"
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
