"""Scans of several channels, from the list to the evaluation, by the commands themselves."""

import json

import nibabel as nib
import numpy as np
import pytest

from medssl.data.datalist import read_datalist
from medssl.runs.folder import read_config
from tests.cli.errors import require_error
from tests.tiny import PRETRAINING, SEGMENTATION, arguments


def other_contrast(voxels):
    return np.where(voxels > voxels.mean(), voxels.max() - voxels / 2, voxels).astype(np.float32)


@pytest.fixture(scope="module")
def prostates(mr_list, tmp_path_factory):
    """The phantoms as Task05_Prostate of the Medical Segmentation Decathlon has its scans: two channels in one file."""
    folder, listed = tmp_path_factory.mktemp("prostates"), read_datalist(mr_list)
    entries = {"training": [], "test": []}
    for case in listed.section("training+validation+test+unlabeled"):
        scan = nib.load(case["image"])
        voxels = np.asarray(scan.dataobj, np.float32)
        channels = np.stack([voxels, other_contrast(voxels)], axis=-1)
        nib.save(nib.Nifti1Image(channels, scan.affine), folder / f"{case['case']}.nii.gz")
        image = f"./{case['case']}.nii.gz"
        if "label" in case:
            entries["training"].append({"image": image, "label": case["label"]})
        else:
            entries["test"].append(image)
    labels = {str(value): name for value, name in listed.labels.items()}
    content = {"name": "Prostate", "tensorImageSize": "4D", "modality": {"0": "T2", "1": "ADC"}, "labels": labels}
    (folder / "dataset.json").write_text(json.dumps({**content, **entries}), encoding="utf-8")
    return folder / "dataset.json"


def test_a_list_of_the_decathlon_with_4d_files_works_from_check_to_evaluation(medssl, prostates, tmp_path):
    made = tmp_path / "list.json"
    assert medssl("datalist", prostates, "--validation", 1, "--test", 1, "--out", made)[0] == 0
    status, out, _ = medssl("check", made, "--data", "mr")
    assert status == 0 and out.splitlines()[-1].startswith("5 cases, 0 errors")
    sizes = ("--data", "mr", *arguments({"spacing": [6.0, 6.0, 9.0]}))
    assert medssl("prepare", made, *sizes, "--out", tmp_path / "store")[0] == 0
    options = ("--datalist", made, "--data", "mr")
    run = tmp_path / "run"
    assert (
        medssl("pretrain", "kats", *options, "--store", tmp_path / "store", "--out", run, *arguments(PRETRAINING))[0]
        == 0
    )
    assert read_config(run)["in_channels"] == 2
    probe = tmp_path / "probe"
    settings = arguments(SEGMENTATION)
    assert medssl("probe", "--backbone", run, *options, "--labels", 1, "--out", probe, *settings)[0] == 0
    status, out, _ = medssl("evaluate", probe)
    assert status == 0 and (probe / "rows.jsonl").is_file()


def test_one_channel_of_4d_files_can_be_taken(medssl, prostates, tmp_path):
    made = tmp_path / "list.json"
    assert medssl("datalist", prostates, "--channel", "ADC", "--out", made)[0] == 0
    status, out, _ = medssl("check", made, "--data", "mr")
    assert status == 0 and ", 0 errors" in out.splitlines()[-1]
    require_error(medssl("datalist", prostates, "--channel", "DWI", "--out", made), "has no channel 'DWI' but T2, ADC")


def test_a_time_series_is_an_error_of_its_case_and_not_the_end(medssl, prostates, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, file in enumerate(sorted(prostates.parent.glob("*.nii.gz"))[:2]):
        image = nib.load(file)
        voxels = np.asarray(image.dataobj)
        nib.save(nib.Nifti1Image(voxels if number else voxels[..., 0], image.affine), folder / file.name)
    assert medssl("datalist", folder, "--modality", "MR", "--out", tmp_path / "list.json")[0] == 0
    status, out, _ = medssl("check", tmp_path / "list.json")
    assert status == 1 and "2 cases, 1 errors" in out
    assert sum("split a time series" in line for line in out.splitlines()) == 1


def test_numbered_files_of_a_folder_are_channels_which_the_command_says(medssl, prostates, tmp_path):
    folder, made = tmp_path / "scans", tmp_path / "list.json"
    folder.mkdir()
    for file in sorted(prostates.parent.glob("*.nii.gz"))[:2]:
        image = nib.load(file)
        for number in range(2):
            volume = nib.Nifti1Image(np.asarray(image.dataobj)[..., number], image.affine)
            nib.save(volume, folder / file.name.replace(".nii.gz", f"_{number:04d}.nii.gz"))
    status, out, _ = medssl("datalist", folder, "--out", made)
    assert (status, out.splitlines()) == (
        0,
        [
            f"Data list: {made} (0 training, 0 validation, 0 test, 2 unlabeled)",
            "Every case has 2 channels by the numbers of its files (CASE_0000 to CASE_0001), and is MR.",
        ],
    )
    status, out, _ = medssl("check", made, "--data", "mr")
    assert status == 0 and out.splitlines()[-1].startswith("2 cases, 0 errors")
