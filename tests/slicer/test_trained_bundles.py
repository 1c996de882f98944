"""Bundles of the demonstration and of real scans, in preflight, MONAI Label and 3D Slicer's own classes.

The weights are trained, though briefly, and packed as by `medssl demo` and `medssl pack`.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pytest

from medssl.data.datalist import read_datalist
from medssl.packaging.pack import pack
from medssl.packaging.sources import source_bundles
from medssl.workflows.training import pretrain, train_segmentation
from tests.bundles.test_inference import run_bundle
from tests.end_to_end.small_demo import run_small_demo
from tests.real_data.hippocampus import list_of_six
from tests.slicer.serving import asked, serving, serving_bundles
from tests.slicer.test_segmentation import COLORS, require_same
from tests.tiny import start

pytestmark = pytest.mark.slicer
CLIENT = Path(__file__).with_name("label_client.py")
DATA = ["mr", "hippocampus"]
PRETRAINING = {
    **{"base_channels": 8, "num_levels": 3, "pairs_per_batch": 2, "num_voxels": 128},
    **{"num_workers": 0, "max_epochs": 1, "steps_per_epoch": 20, "learning_rate": 0.001, "panel_every": 20},
}
TRAINING = {
    **{"num_workers": 0, "max_epochs": 1, "steps_per_epoch": 150, "val_interval": 1},
    **{"patches_per_batch": 2, "volumes_per_batch": 2},
}
HEADS = {
    "linear_probe": {},
    "fine_tune": {"learning_rate": 0.003},
}


@dataclass(frozen=True)
class Walk:
    """Results of a bundle in the steps of a user.

    Attributes:
        bundle: its folder.
        folder: holds ``datastore.nrrd`` and ``session.nrrd`` of the server, and ``out`` of ``monai.bundle``.
        answered: the answers in a session of the plugin's client.
        uploaded: case whose scan was uploaded in the session.
        names: names of the structures in the data list.
    """

    bundle: Path
    folder: Path
    answered: dict[str, Any]
    uploaded: str
    names: dict[int, str]

    @property
    def case(self) -> str:
        """The scan that the server offered."""
        return self.answered["sample"]["id"]


def walk(bundles: Iterable[Path], datalist: Path, environment: Path, work: Path) -> dict[str, Walk]:
    """Serve several bundles, and repeat with each what a person does with the plugin."""
    bundles = list(bundles)
    listed = read_datalist(datalist)
    cases = listed.section("training")[: len(bundles)]
    studies = work / "studies"
    studies.mkdir(parents=True)
    for case in cases:
        shutil.copyfile(case["image"], studies / f"{case['case']}.nii.gz")
    scans = shutil.copytree(studies, work / "scans")
    walks = {}
    with serving_bundles(environment, bundles, studies, work) as url:
        for bundle in bundles:
            folder = work / bundle.name
            folder.mkdir()
            answered = asked(environment, CLIENT, url, bundle.name, cases[0]["image"], cases[0]["label"], folder)
            walks[bundle.name] = Walk(bundle, folder, answered, cases[0]["case"], listed.labels)
            done = run_bundle(bundle, work, input=scans, output_dir=folder / "out")
            assert done.returncode == 0, done.stderr
    return walks


@pytest.fixture(scope="module")
def demo(environment, tmp_path_factory) -> dict[str, Walk]:
    """The probe of the demonstration."""
    folder = tmp_path_factory.mktemp("demo")
    bundle, _ = run_small_demo(folder / "made")
    return walk([bundle], folder / "made" / "data" / "datalist.json", environment, folder / "work")


@pytest.fixture(scope="module")
def hippocampus(environment, shared_data, tmp_path_factory) -> dict[str, Walk]:
    """A linear probe and a fine-tuned network on real scans, from one pretraining."""
    folder = tmp_path_factory.mktemp("hippocampus")
    (folder / "data").mkdir()
    datalist = list_of_six(shared_data, folder / "data")
    pretrain("kats", datalist, DATA, folder / "pretrain", overrides=PRETRAINING)
    for head, settings in HEADS.items():
        train_segmentation(
            head, datalist, DATA, folder / head, backbone=folder / "pretrain", overrides=TRAINING | settings
        )
    bundles = [pack(folder / head, "hippocampus", folder / "bundles") for head in HEADS]
    return walk(bundles, datalist, environment, folder / "work")


@pytest.fixture(
    scope="module",
    params=[
        ("demo", "phantom_ct_linear_probe_segmentation"),
        pytest.param(("hippocampus", "hippocampus_linear_probe_segmentation"), marks=pytest.mark.real_data),
        pytest.param(("hippocampus", "hippocampus_fine_tune_segmentation"), marks=pytest.mark.real_data),
    ],
    ids=lambda names: names[1],
)
def walked(request) -> Walk:
    """The results of one of the bundles."""
    made, name = request.param
    return request.getfixturevalue(made)[name]


def nifti(walked: Walk, case: str) -> nib.Nifti1Image:
    return nib.load(walked.folder / "out" / f"{case}_seg.nii.gz")


def test_the_preflight_finds_no_faults(walked, tmp_path):
    # The zip file, as others get it.
    checking = start("bundle", "check", "--trust", walked.bundle.with_name(f"{walked.bundle.name}.zip"), cwd=tmp_path)
    out, errors = checking.communicate()
    assert (checking.returncode, out) == (0, "ok\n"), out + errors


def test_the_server_names_the_structures(walked):
    model = walked.answered["info"]["models"][walked.bundle.name]
    assert model["labels"] == {name: value for value, name in walked.names.items() if value}
    assert model["config"]["model_filename"] == ["model.pt"]


@pytest.mark.real_data
def test_both_heads_are_offered_side_by_side(hippocampus):
    for walked in hippocampus.values():
        assert set(walked.answered["info"]["models"]) == set(hippocampus)


@pytest.mark.real_data
def test_a_labelled_scan_is_not_offered_again(hippocampus):
    assert len({walked.case for walked in hippocampus.values()}) == len(hippocampus)


def test_the_saved_label_is_kept(walked):
    assert walked.answered["datastore"]["objects"][walked.case]["labels"]["final"]


@pytest.mark.parametrize("result", ["datastore", "session"])
def test_the_server_gives_the_result_of_monai(result, walked):
    voxels, header = nrrd.read(str(walked.folder / f"{result}.nrrd"))
    expected = nifti(walked, walked.case if result == "datastore" else walked.uploaded)
    assert voxels.dtype == np.uint8
    np.testing.assert_array_equal(voxels, np.asarray(expected.dataobj))
    to_ras = np.diag([-1, -1, 1]) @ np.column_stack([header["space directions"].T, header["space origin"]])
    np.testing.assert_allclose(to_ras, expected.affine[:3], atol=1e-3)


def test_the_structures_are_found_on_the_grid_of_the_scan(walked):
    found, scan = nifti(walked, walked.case), nib.load(walked.folder.parent / "scans" / f"{walked.case}.nii.gz")
    assert found.shape == scan.shape
    np.testing.assert_allclose(found.affine, scan.affine, atol=1e-4)
    assert np.asarray(found.dataobj).any()


def test_slicer_shows_names_voxels_and_places(slicer_sees, walked):
    scan = walked.folder.parent / "scans" / f"{walked.case}.nii.gz"
    seen = slicer_sees(scan, walked.folder / "out" / f"{walked.case}_seg.seg.nrrd")
    found = nifti(walked, walked.case)
    names = {value: name for value, name in walked.names.items() if value}
    require_same(seen, np.asarray(found.dataobj), found.affine, names)
    assert seen["segmentation"]["messages"] == ""


def test_slicer_shows_known_anatomy_in_its_colours_and_the_rest_in_distinct_ones(slicer_sees, walked):
    scan = walked.folder.parent / "scans" / f"{walked.case}.nii.gz"
    seen = slicer_sees(scan, walked.folder / "out" / f"{walked.case}_seg.seg.nrrd")
    colors = {s["name"]: np.round(np.array(s["color"]) * 255) for s in seen["segmentation"]["segments"]}
    for name in colors.keys() & COLORS.keys():
        np.testing.assert_allclose(colors[name], COLORS[name], atol=1)
    # The two sides of an organ share a colour; a segment written without a colour is grey.
    unsided = {name.removeprefix("left ").removeprefix("right "): tuple(color) for name, color in colors.items()}
    assert len(set(unsided.values())) == len(unsided)
    assert all(np.ptp(color) > 0 for color in colors.values())


def test_the_plugin_shows_the_result_of_the_server(slicer_sees, walked):
    # In the order in which the server offers them.
    labels = walked.answered["info"]["models"][walked.bundle.name]["labels"]
    scan = walked.folder.parent / "scans" / f"{walked.case}.nii.gz"
    seen = slicer_sees(scan, walked.folder / "datastore.nrrd", *sorted(labels, key=labels.get))
    found = nifti(walked, walked.case)
    names = {value: name for value, name in walked.names.items() if value}
    require_same(seen, np.asarray(found.dataobj), found.affine, names)


def test_weights_that_come_with_medssl_answer_clicks(environment, demo, slicer_sees, tmp_path):
    (probe,) = demo.values()
    studies = shutil.copytree(probe.folder.parent / "scans", tmp_path / "studies")
    scan = studies / f"{probe.uploaded}.nii.gz"
    clicked = [size // 2 for size in nib.load(scan).shape]
    click = json.dumps({"foreground": [clicked]})
    options = {"bundle": "abdomen-ct", "labels": "1=liver"}
    with serving(environment, source_bundles() / "monailabel", studies, options, tmp_path / "server.log") as url:
        asked(environment, CLIENT, url, "similarity", scan, scan, tmp_path, click)
    voxels, _ = nrrd.read(str(tmp_path / "datastore.nrrd"))
    (segment,) = slicer_sees(scan, tmp_path / "datastore.nrrd")["segmentation"]["segments"]
    assert voxels[tuple(clicked)] == 1
    assert segment["count"] == voxels.sum()
