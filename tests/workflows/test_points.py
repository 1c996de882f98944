import os
import threading
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import nrrd
import numpy as np
import pytest

from medssl.packaging.loading import load_bundle
from medssl.packaging.pack import pack
from medssl.workflows import points
from medssl.workflows.points import PointSegmenter, segment_points
from tests.bundles.test_inference import SHAPE, oblique_affine, scan_and_label, write_scan
from tests.packaging.toy_run import pretraining_run

ORGAN, RIM, BODY = (26, 33, 9), (17, 35, 8), (12, 20, 15)


def place(voxel):
    return tuple(nib.affines.apply_affine(oblique_affine(), voxel).tolist())


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("points")
    pack(pretraining_run(folder / "run"), "toy", folder / "bundles", zip_bundle=False)
    write_scan(folder / "scan.nii.gz")
    return folder


@pytest.fixture(scope="module")
def segmenter(work):
    return PointSegmenter(load_bundle(work / "bundles" / "toy_pretrain"))


@pytest.fixture(scope="module")
def found(work, segmenter):
    return segmenter(work / "scan.nii.gz", [place(ORGAN)], [place(RIM), place(BODY)])


def computed(segmenter):
    return sum(place.opened.backbone.computed for place in segmenter._places.values())


def kept(segmenter):
    return [key[0][0].rsplit("/", 1)[1] for key in segmenter._places]


@pytest.fixture
def fresh(work, segmenter):
    """A segmenter that has nothing in memory, and scans a, b, c and d."""
    for name in "abcd":
        write_scan(work / f"{name}.nii.gz")
    return PointSegmenter(segmenter.bundle)


def test_the_mask_is_on_the_grid_of_the_scan(found):
    assert found.shape == (1, *SHAPE)
    np.testing.assert_allclose(found.affine, oblique_affine(), atol=1e-4)


def test_points_inside_are_in_the_mask_and_those_outside_are_not(found):
    mask = found[0].numpy()
    assert [int(mask[voxel]) for voxel in (ORGAN, RIM, BODY)] == [1, 0, 0]


def test_the_mask_is_the_clicked_organ(found):
    organ, mask = scan_and_label()[1] == 2, found[0].numpy() > 0
    assert 2 * (organ & mask).sum() / (organ.sum() + mask.sum()) > 0.6


def test_one_point_alone_gives_a_mask_around_it(work, segmenter):
    mask = segmenter(work / "scan.nii.gz", [place(ORGAN)])[0].numpy()
    assert mask[ORGAN] == 1 and 1 < mask.sum() < mask.size / 2


def test_the_same_clicks_give_the_same_mask_without_computing_features_again(work, segmenter, found):
    former = computed(segmenter)
    again = segmenter(work / "scan.nii.gz", [place(ORGAN)], [place(RIM), place(BODY)])
    np.testing.assert_array_equal(again, found)
    assert computed(segmenter) == former


def test_a_scan_that_changed_is_read_again(work, segmenter):
    path = work / "changing.nii.gz"
    image = nib.Nifti1Image(scan_and_label()[0], oblique_affine())
    nib.save(image, path)
    former = segmenter(path, [place(ORGAN)], [place(RIM)])
    stat = path.stat()
    nib.save(nib.Nifti1Image(np.where(scan_and_label()[1] == 2, 400, image.dataobj), oblique_affine()), path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    changed = segmenter(path, [place(ORGAN)], [place(RIM)])
    fresh = PointSegmenter(segmenter.bundle)(path, [place(ORGAN)], [place(RIM)])
    np.testing.assert_array_equal(changed, fresh)
    assert not np.array_equal(changed, former)


def test_the_last_two_scans_are_kept(work, fresh):
    for name in "abc":
        fresh(work / f"{name}.nii.gz", [place(ORGAN)])
    assert kept(fresh) == ["b.nii.gz", "c.nii.gz"]


def test_a_click_in_an_opened_scan_computes_no_features(work, fresh, found):
    fresh.open(work / "a.nii.gz")
    former = computed(fresh)
    mask = fresh(work / "a.nii.gz", [place(ORGAN)], [place(RIM), place(BODY)])
    assert computed(fresh) == former > 0
    np.testing.assert_array_equal(mask, found)


def test_opening_other_scans_keeps_the_one_that_was_clicked(work, fresh):
    fresh(work / "a.nii.gz", [place(ORGAN)])
    for name in "bcd":
        fresh.open(work / f"{name}.nii.gz")
    assert set(kept(fresh)) == {"a.nii.gz", "d.nii.gz"}


def test_clicks_are_answered_while_another_scan_is_opened(work, fresh, monkeypatch):
    fresh(work / "a.nii.gz", [place(ORGAN)])
    begun, may_end = threading.Event(), threading.Event()

    def slow(*_):
        begun.set()
        assert may_end.wait(timeout=60)
        raise OSError("unreadable")

    monkeypatch.setattr(fresh, "_computed", slow)
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(fresh.open, work / "b.nii.gz")
        assert begun.wait(timeout=60)
        assert fresh(work / "a.nii.gz", [place(ORGAN)])[0][ORGAN] == 1
        may_end.set()
        with pytest.raises(OSError, match="unreadable"):
            opening.result()
    assert kept(fresh) == ["a.nii.gz"]


def test_where_memory_is_short_only_the_last_scan_is_kept(work, fresh, monkeypatch):
    fresh(work / "a.nii.gz", [place(ORGAN)])
    # Free before and after the others are forgotten.
    monkeypatch.setattr(points, "free_memory", iter([0, 10**12]).__next__)
    fresh.open(work / "b.nii.gz")
    assert kept(fresh) == ["b.nii.gz"]


def test_features_larger_than_memory_are_refused(work, fresh, monkeypatch):
    monkeypatch.setattr(points, "free_memory", lambda: 1000)
    with pytest.raises(ValueError, match=r"The features of .*a\.nii\.gz need .* GiB of memory"):
        fresh.open(work / "a.nii.gz")
    assert kept(fresh) == []


def test_a_point_inside_where_the_bundle_crops_is_refused(work, segmenter):
    with pytest.raises(ValueError, match="is not in the body in"):
        segmenter(work / "scan.nii.gz", [place((58, 68, 22))])


def test_a_point_outside_may_be_in_the_air(work, segmenter):
    assert segmenter(work / "scan.nii.gz", [place(ORGAN)], [place((58, 68, 22))])[0][ORGAN] == 1


def test_both_files_hold_the_mask_with_its_name_and_the_volume_is_in_ml(work, found):
    clicks = [place(ORGAN)], [place(RIM), place(BODY)]
    bundle = work / "bundles" / "toy_pretrain"
    segmentation, mask, volume = segment_points(work / "scan.nii.gz", *clicks, bundle, work / "out", "left kidney")
    assert (segmentation.name, mask.name) == ("left kidney.seg.nrrd", "left kidney.nii.gz")
    image = nib.load(mask)
    np.testing.assert_array_equal(image.get_fdata(), found[0].numpy())
    np.testing.assert_allclose(image.affine, oblique_affine(), atol=1e-4)
    voxels, header = nrrd.read(str(segmentation))
    np.testing.assert_array_equal(voxels, found[0].numpy())
    assert header["Segment0_Name"] == "left kidney"
    assert volume == pytest.approx(float(found.sum()) * 0.9 * 0.7 * 2.5 / 1000, rel=1e-3)
