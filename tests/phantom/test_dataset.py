import json
import logging
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medssl.phantom import dataset as phantom
from medssl.phantom.anatomy import LABELS
from medssl.phantom.dataset import phantom_case, write_phantom

SMALL = {"shape": (48, 40, 20), "spacing": (4.7, 4.7, 8.5)}
SEEDS = range(4)  # one of every kind of grid
# HU without agent to well enhanced in the portal venous phase, textbook ranges; spine: cancellous and cortical bone.
HU_RANGES = {
    "liver": (45, 125),
    "spleen": (35, 135),
    "right kidney": (25, 180),
    "left kidney": (25, 180),
    "aorta": (30, 180),
    "gallbladder": (-15, 30),
    "pancreas": (20, 110),
    "adrenal gland": (0, 90),
    "spine": (100, 400),
}


@pytest.fixture(scope="module")
def cases():
    return [phantom_case(seed) for seed in SEEDS]


def world_centre(label, affine, value):
    return affine[:3, :3] @ np.argwhere(label == value).mean(0) + affine[:3, 3]


def by_name(label, affine):
    return {name: world_centre(label, affine, value) for value, name in LABELS.items()}


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_equal_arguments_give_equal_bits(modality):
    for one, other in zip(phantom_case(5, modality, **SMALL), phantom_case(5, modality, **SMALL), strict=True):
        assert one.tobytes() == other.tobytes()


def test_ct_and_mr_of_one_seed_show_one_patient():
    (ct, ct_label, ct_affine), (mr, mr_label, mr_affine) = (phantom_case(1, kind, **SMALL) for kind in ("CT", "MR"))
    assert np.array_equal(ct_label, mr_label)
    assert np.array_equal(ct_affine, mr_affine)
    assert not np.array_equal(ct, mr)


def test_no_two_patients_are_alike():
    (_, one, _), (_, other, _) = phantom_case(0, **SMALL), phantom_case(4, **SMALL)  # one kind of grid
    liver = [label == 1 for label in (one, other)]
    assert 2 * np.sum(liver[0] & liver[1]) / np.sum([mask.sum() for mask in liver]) < 0.95


def test_every_label_is_in_every_case():
    for seed in range(12):
        assert np.unique(phantom_case(seed, **SMALL)[1]).tolist() == [0, *LABELS]


def test_small_organs_are_small(cases):
    for _, label, _ in cases:
        sizes = dict(enumerate(np.bincount(label.ravel())))
        assert 20 < sizes[8] < sizes[6] < sizes[2] < sizes[1] / 4


def test_sides_are_right_in_the_world_of_every_grid(cases):
    for _, label, affine in cases:
        at = by_name(label, affine)
        spine = at["spine"]
        for name in ("liver", "right kidney", "gallbladder"):
            assert at[name][0] > spine[0], name  # NIfTI: x grows to the patient's right
        for name in ("spleen", "left kidney"):
            assert at[name][0] < spine[0], name
        for name in ("liver", "pancreas", "aorta", "gallbladder"):
            assert at[name][1] > spine[1], name  # y grows to the front
        for name in ("liver", "spleen", "adrenal gland"):
            assert at[name][2] > max(at["left kidney"][2], at["right kidney"][2]), name  # z grows to the head


def test_grids_are_straight_and_oblique_right_and_left_handed(cases):
    affines = [affine for _, _, affine in cases]
    tilts = [nib.affines.obliquity(affine).max() for affine in affines]
    assert [np.rad2deg(tilt) > 2 for tilt in tilts] == [False, True, True, False]
    assert [bool(np.linalg.det(affine) < 0) for affine in affines] == [False, False, True, False]
    for affine in affines:
        assert np.allclose(nib.affines.voxel_sizes(affine), (2.35, 2.35, 4.25), rtol=1e-5)


def test_organs_have_the_hu_of_their_tissue(cases):
    for image, label, _ in cases:
        for value, name in LABELS.items():
            low, high = HU_RANGES[name]
            assert low < image[label == value].mean() < high, name


def test_hu_of_organs_overlap(cases):
    # For any threshold between two means, more than a tenth of the voxels of one organ lie on the wrong side.
    for image, label, _ in cases:
        low, high = sorted((image[label == 1], image[label == 2]), key=np.mean)
        for threshold in range(int(low.mean()), int(high.mean()) + 1):
            assert np.mean(low > threshold) + np.mean(high < threshold) > 0.1


def test_organs_touch(cases):
    for _, label, _ in cases:
        touching = {
            frozenset(pair)
            for axis in range(3)
            for pair in zip(
                np.moveaxis(label, axis, 0)[1:].ravel(), np.moveaxis(label, axis, 0)[:-1].ravel(), strict=True
            )
        }
        assert frozenset((1, 3)) in touching  # liver and right kidney
        assert frozenset((1, 6)) in touching  # liver and gallbladder


def test_air_is_air_and_a_round_field_has_padding(cases):
    for image, label, _ in cases[:3]:
        assert abs(np.median(image[:, :2]) + 1000) < 10
        assert image.min() >= -1024
        assert not label[:, :2].any()
    assert cases[3][0][0, 0, 0] == -2000
    assert not cases[3][1][cases[3][0] == -2000].any()


def test_mr_signal_is_not_negative_and_bright_in_fat():
    image, label, _ = phantom_case(2, "MR", **SMALL)
    assert image.min() >= 0
    assert np.percentile(image, 95) > 1.2 * image[label == 1].mean() > 2 * image[label == 6].mean()


@pytest.mark.parametrize(("setting", "message"), [({"modality": "PET"}, "PET"), ({"shape": (8, 40, 20)}, "8, 40, 20")])
def test_what_cannot_be_made_is_named(setting, message):
    with pytest.raises(ValueError, match=message):
        phantom_case(0, **setting)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "new" / "set"
    return write_phantom(folder, 6, num_labelled=2, num_validation=1, num_test=1, seed=3, **SMALL)


def test_sections_have_their_counts_and_share_no_case(written):
    listed = json.loads(written.read_text(encoding="utf-8"))
    sections = {name: listed[name] for name in ("training", "validation", "test", "unlabeled")}
    assert [len(entries) for entries in sections.values()] == [2, 1, 1, 2]
    names = [entry["case"] for entries in sections.values() for entry in entries]
    assert len(set(names)) == 6
    assert all(("label" in entry) == (name != "unlabeled") for name, entries in sections.items() for entry in entries)
    assert listed["modality"] == "CT"
    assert listed["labels"]["0"] == "background"
    assert listed["labels"]["9"] == "spine"


def test_a_set_holds_its_list_and_what_is_listed(written):
    listed = json.loads(written.read_text(encoding="utf-8"))
    paths = [
        entry[kind]
        for value in listed.values()
        if isinstance(value, list)
        for entry in value
        for kind in ("image", "label")
        if kind in entry
    ]
    found = {path.relative_to(written.parent).as_posix() for path in written.parent.rglob("*") if path.is_file()}
    assert found == {*paths, "datalist.json"}


def test_files_hold_one_geometry_in_both_forms(written):
    for path in written.parent.rglob("*.nii.gz"):
        file = nib.load(path)
        qform, q_code = file.get_qform(coded=True)
        sform, s_code = file.get_sform(coded=True)
        assert q_code == s_code == 1
        assert np.allclose(qform, sform, atol=1e-4)
        assert file.get_data_dtype() == (np.int16 if path.parent.name == "images" else np.uint8)
        assert np.isnan(file.header["scl_slope"])  # stored values are the values


def test_spacing_differs_between_cases(written):
    sizes = {nib.load(path).header.get_zooms() for path in (written.parent / "images").iterdir()}
    assert len(sizes) == 6
    assert all(np.allclose(size, SMALL["spacing"], rtol=0.081) for size in sizes)


def test_a_set_can_be_written_again_bit_for_bit(written, tmp_path):
    again = write_phantom(tmp_path, 6, num_labelled=2, num_validation=1, num_test=1, seed=3, **SMALL)
    for path in written.parent.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again.parent / path.relative_to(written.parent)).read_bytes(), path


def test_sets_of_other_seeds_share_no_scan(written, tmp_path):
    other = write_phantom(tmp_path, 1, num_labelled=1, num_validation=0, num_test=0, seed=4, **SMALL)
    image = next((other.parent / "images").iterdir()).read_bytes()
    assert all(image != path.read_bytes() for path in (written.parent / "images").iterdir())


def test_a_folder_with_files_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(FileExistsError, match="not empty"):
        write_phantom(tmp_path, **SMALL)
    assert os.listdir(tmp_path) == ["mine.txt"]


@pytest.mark.parametrize("counts", [{"num_cases": 3}, {"num_cases": 0}, {"num_test": -1}])
def test_sections_that_do_not_fit_are_refused(tmp_path, counts):
    with pytest.raises(ValueError, match="num_cases"):
        write_phantom(tmp_path / "new", **counts)
    assert not (tmp_path / "new").exists()


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(seed, *args):
        if seed == 1:
            raise KeyboardInterrupt
        return phantom_case(seed, *args)

    monkeypatch.setattr(phantom, "phantom_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path, **SMALL)
    assert not any(Path(tmp_path).iterdir())


def test_the_log_says_what_was_written(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        write_phantom(tmp_path, 1, num_labelled=1, num_validation=0, num_test=0, **SMALL)
    assert str(tmp_path) in caplog.text
