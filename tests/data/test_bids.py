"""Data sets laid out as BIDS."""

import pytest

from medssl.data.folders import build_datalist


@pytest.fixture
def bids(tmp_path):
    files = [
        "dataset_description.json",
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
        "sub-02/anat/sub-02_T1w.nii.gz",
        "sub-02/anat/sub-02_T1w.json",
        "sub-02/func/sub-02_task-rest_bold.nii.gz",
        "sub-03/anat/sub-03_run-1_T1w.nii.gz",
        "sub-03/anat/sub-03_run-2_T1w.nii.gz",
        "derivatives/manual/sub-01/ses-1/anat/sub-01_ses-1_dseg.nii.gz",
        "derivatives/manual/sub-02/anat/sub-02_space-orig_dseg.nii.gz",
        "derivatives/manual/sub-03/anat/sub-03_run-2_label-lesion_mask.nii.gz",
    ]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    return tmp_path


def build(folder, labels="derivatives/manual", **options):
    labels = None if labels is None else folder / labels
    return build_datalist(folder, labels, "toy", "MR", "1=lesion", **options)


def cases(datalist, section):
    return [case["case"] for case in datalist.sections[section]]


def test_scans_and_labels_meet_by_subject_session_and_run(bids):
    datalist = build(bids)
    assert cases(datalist, "training") == ["sub-01_ses-1_T1w", "sub-02_T1w", "sub-03_run-2_T1w"]
    assert cases(datalist, "unlabeled") == ["sub-01_ses-2_T1w", "sub-03_run-1_T1w"]
    assert datalist.sections["training"][2]["label"].endswith("sub-03_run-2_label-lesion_mask.nii.gz")


def test_a_subject_is_never_split(bids):
    datalist = build(bids, num_test=1)
    (held_out,) = {case["group"] for case in datalist.sections["test"]}
    assert held_out not in {case["group"] for name in ("training", "unlabeled") for case in datalist.sections[name]}


def test_without_labels_all_scans_are_unlabeled(bids):
    assert len(build(bids, None).sections["unlabeled"]) == 5


def test_one_of_several_contrasts_is_chosen(bids):
    (bids / "sub-02" / "anat" / "sub-02_FLAIR.nii.gz").touch()
    with pytest.raises(ValueError, match=r"T1w \(5 files\), FLAIR \(1 files\); .*--channel T1w"):
        build(bids)
    assert cases(build(bids, None, channel="FLAIR"), "unlabeled") == ["sub-02_FLAIR"]
    with pytest.raises(ValueError, match="choose one of them"):
        build(bids, channel="T2w")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("sub-04/anat/sub-04_dseg.nii.gz", "sub-04_dseg.nii.gz fits 0 scans"),
        ("sub-02/anat/sub-02_mask.nii.gz", "'sub-02_T1w' has several labels"),
    ],
)
def test_a_label_without_its_one_scan_is_an_error(bids, label, message):
    path = bids / "derivatives" / "manual" / label
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(ValueError, match=message):
        build(bids)


def test_a_folder_without_labels_is_an_error(bids):
    with pytest.raises(ValueError, match="holds no label of a scan"):
        build(bids, "derivatives")
