import nibabel as nib
import numpy as np
import pytest

from medssl.packaging.loading import load_bundle
from medssl.packaging.pack import pack
from medssl.workflows.clicks import clicked_point, similar_region
from tests.bundles.test_inference import SHAPE, oblique_affine, scan_and_label, write_scan
from tests.packaging.toy_run import pretraining_run

# As Slicer counts the voxels of this left-handed scan: the third axis from the other end.
ORGAN, BODY = ([26, 33, SHAPE[2] - 1 - 9], [12, 20, SHAPE[2] - 1 - 15])


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clicks")
    pack(pretraining_run(folder / "run"), "toy", folder / "bundles", zip_bundle=False)
    write_scan(folder / "scan.nii.gz")
    return folder


@pytest.fixture(scope="module")
def bundle(work):
    return load_bundle(work / "bundles" / "toy_pretrain")


@pytest.fixture(scope="module")
def found(work, bundle):
    return similar_region(bundle, work / "scan.nii.gz", [ORGAN], [], threshold=0.9)


def test_the_third_axis_of_a_left_handed_scan_counts_from_the_other_end(work):
    expected = oblique_affine() @ np.array([26, 33, 9, 1])
    np.testing.assert_allclose(clicked_point(work / "scan.nii.gz", ORGAN), expected[:3], atol=1e-3)


def test_a_right_handed_scan_counts_as_it_is_stored(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([2.0, 3, 4, 1])), tmp_path / "scan.nii.gz")
    assert clicked_point(tmp_path / "scan.nii.gz", [1, 2, 3]) == (2.0, 6.0, 12.0)


@pytest.mark.parametrize("index", [[0, 0, 24], [-1, 0, 0], [0, 0]])
def test_a_voxel_outside_the_scan_is_refused(work, index):
    with pytest.raises(ValueError, match="is not in"):
        clicked_point(work / "scan.nii.gz", index)


def test_the_region_is_what_is_similar_enough(found):
    heat, region = found
    assert (heat.shape, region.shape) == ((1, *SHAPE), (1, *SHAPE))
    np.testing.assert_array_equal(region[0].numpy() == 1, heat[0].numpy() >= 0.9)
    assert region[0, 26, 33, 9] == 1


def test_the_organ_is_more_similar_to_a_click_in_it_than_the_body(found):
    heat, label = found[0][0].numpy(), scan_and_label()[1]
    assert heat[label == 2].mean() > heat[label == 0].mean()


def test_two_clicks_mark_what_is_like_either(work, bundle, found):
    heat, _ = similar_region(bundle, work / "scan.nii.gz", [ORGAN, BODY], [], threshold=0.9)
    assert (heat >= found[0]).all() and (heat > found[0]).any()


def test_a_background_click_takes_its_like_away(work, bundle):
    scan = work / "scan.nii.gz"
    _, region = similar_region(bundle, scan, [ORGAN], [BODY], threshold=-1.0)
    assert region[0, 26, 33, 9] == 1
    assert region[0, 12, 20, 15] == 0


def test_no_click_is_refused(work, bundle):
    with pytest.raises(ValueError, match="No foreground point"):
        similar_region(bundle, work / "scan.nii.gz", [], [ORGAN], threshold=0.9)
