import json
import logging
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medssl.phantom import dataset as phantom
from medssl.phantom.dataset import write_phantom
from medssl.phantom.scan import phantom_case
from tests.phantom.sizes import SMALL


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
