"""Lists that other programs made are read as they are."""

import json

import pytest

from medssl.data.checking import check_datalist
from medssl.data.datalist import load_section, read_datalist
from medssl.data.held_out import draw_datalist
from tests.scans.files import hounsfield, organs, save_nifti

# As the Medical Segmentation Decathlon publishes Task09_Spleen, but for the numbers of cases.
DECATHLON = {
    "name": "Spleen",
    "description": "Spleen Segmentation",
    "reference": "Memorial Sloan Kettering Cancer Center",
    "licence": "CC-BY-SA 4.0",
    "release": "1.0 06/08/2018",
    "tensorImageSize": "3D",
    "modality": {"0": "CT"},
    "labels": {"0": "background", "1": "spleen", "2": "liver"},
    "numTraining": 2,
    "numTest": 1,
    "training": [
        {"image": "./imagesTr/spleen_19.nii.gz", "label": "./labelsTr/spleen_19.nii.gz"},
        {"image": "./imagesTr/spleen_31.nii.gz", "label": "./labelsTr/spleen_31.nii.gz"},
    ],
    "test": ["./imagesTs/spleen_15.nii.gz"],
}
NNUNET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "spleen": 1, "liver": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def fill(folder, *files):
    """Write a scan or label for each file, all scans different."""
    for number, file in enumerate(files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        save_nifti(folder / file, organs() if file.startswith("labels") else hounsfield(number))


def write(folder, content, **changes):
    path = folder / "dataset.json"
    content = {key: value for key, value in {**content, **changes}.items() if value is not ...}
    path.write_text(json.dumps(content))
    return path


def cases(datalist, section):
    return [case["case"] for case in datalist.sections[section]]


@pytest.fixture
def decathlon(tmp_path):
    fill(tmp_path, *[f"{kind}Tr/spleen_{n}.nii.gz" for kind in ("images", "labels") for n in (19, 31)])
    fill(tmp_path, "imagesTs/spleen_15.nii.gz")
    return tmp_path


@pytest.fixture
def nnunet(tmp_path):
    """The folder of `nnUNetv2_convert_MSD_dataset`, with a hidden file of macOS."""
    folder = tmp_path / "Dataset009_Spleen"
    fill(folder, *[f"imagesTr/spleen_{n}_0000.nii.gz" for n in (19, 31)])
    fill(folder, *[f"labelsTr/spleen_{n}.nii.gz" for n in (19, 31)], "imagesTs/spleen_15_0000.nii.gz")
    (folder / "imagesTr" / "._spleen_19_0000.nii.gz").touch()
    return folder


def test_a_list_of_the_decathlon_is_read_as_it_is(decathlon):
    datalist = read_datalist(write(decathlon, DECATHLON))
    assert (datalist.name, datalist.modality, datalist.licence) == ("Spleen", "CT", "CC-BY-SA 4.0")
    assert datalist.labels == {0: "background", 1: "spleen", 2: "liver"}
    assert cases(datalist, "training") == ["spleen_19", "spleen_31"] and cases(datalist, "test") == []
    assert datalist.sections["unlabeled"] == (
        {"case": "spleen_15", "image": str(decathlon / "imagesTs" / "spleen_15.nii.gz")},
    )


def test_it_passes_the_check_and_is_loaded(decathlon):
    path = write(decathlon, DECATHLON)
    # imagesTs/spleen_15 is the first scan again.
    assert [finding.severity for finding in check_datalist(path)] == ["warning"]
    assert [case["case"] for case in load_section(path, "training+unlabeled")] == [
        "spleen_19",
        "spleen_31",
        "spleen_15",
    ]


@pytest.mark.parametrize(("name", "modality"), [("MRI", "MR"), ("ct", "CT"), ("T2", "MR"), ("ADC", "MR")])
def test_every_channel_but_ct_is_scaled_without_a_unit(decathlon, name, modality):
    assert read_datalist(write(decathlon, DECATHLON, modality={"0": name})).modality == modality


def test_a_labelled_test_case_stays_one(decathlon):
    entry = {"image": "./imagesTs/spleen_15.nii.gz", "label": "./labelsTs/spleen_15.nii.gz"}
    assert cases(read_datalist(write(decathlon, DECATHLON, test=[entry])), "test") == ["spleen_15"]


def test_a_folder_of_nnunet_is_read_as_it_is(nnunet):
    datalist = read_datalist(write(nnunet, NNUNET))
    assert (datalist.name, datalist.modality) == ("Dataset009_Spleen", "CT")
    assert datalist.labels == {0: "background", 1: "spleen", 2: "liver"}
    assert datalist.sections["training"][0] == {
        "case": "spleen_19",
        "image": str(nnunet / "imagesTr" / "spleen_19_0000.nii.gz"),
        "label": str(nnunet / "labelsTr" / "spleen_19.nii.gz"),
    }
    assert (cases(datalist, "training"), cases(datalist, "unlabeled")) == (["spleen_19", "spleen_31"], ["spleen_15"])


def test_labels_of_test_scans_are_found(nnunet):
    fill(nnunet, "labelsTs/spleen_15.nii.gz")
    assert cases(read_datalist(write(nnunet, NNUNET)), "test") == ["spleen_15"]


def test_the_list_of_nnunet_1_names_files_without_their_channel(nnunet):
    datalist = read_datalist(write(nnunet, DECATHLON))
    assert datalist.sections["training"][1]["image"] == str(nnunet / "imagesTr" / "spleen_31_0000.nii.gz")
    assert cases(datalist, "training") == ["spleen_19", "spleen_31"]


@pytest.mark.parametrize("listed", [NNUNET, DECATHLON])
def test_all_channels_are_taken_unless_one_is_chosen(nnunet, listed):
    fill(nnunet, *[f"imagesTr/spleen_{n}_0001.nii.gz" for n in (19, 31)], "imagesTs/spleen_15_0001.nii.gz")
    key = "modality" if "modality" in listed else "channel_names"
    datalist = read_datalist(write(nnunet, listed, **{key: {"0": "T2", "1": "ADC"}}))
    assert datalist.channels == ("T2", "ADC") and datalist.modality == "MR"
    case = datalist.sections["training"][0]
    folder = nnunet / "imagesTr"
    assert case["image"] == [str(folder / "spleen_19_0000.nii.gz"), str(folder / "spleen_19_0001.nii.gz")]
    assert cases(datalist, "training") == ["spleen_19", "spleen_31"]
    assert check_datalist(datalist.path) == []


@pytest.mark.parametrize("channel", ["ADC", "adc", "1"])
def test_one_of_several_channels_can_be_chosen(nnunet, channel):
    fill(nnunet, *[f"{folder}_0001.nii.gz" for folder in ("imagesTr/spleen_19", "imagesTr/spleen_31")])
    fill(nnunet, "imagesTs/spleen_15_0001.nii.gz")
    path = write(nnunet, NNUNET, channel_names={"0": "T2", "1": "ADC"})
    datalist = read_datalist(path, channel)
    assert datalist.sections["training"][0]["image"].endswith("spleen_19_0001.nii.gz")
    assert datalist.modality == "MR"
    with pytest.raises(ValueError, match="has no channel 'DWI' but T2, ADC"):
        read_datalist(path, "DWI")


def test_cases_that_nnunet_lists_itself_are_taken_from_there(nnunet):
    files = {"images": ["imagesTr/spleen_31_0000.nii.gz"], "label": "labelsTr/spleen_31.nii.gz"}
    assert cases(read_datalist(write(nnunet, NNUNET, dataset={"b": files})), "training") == ["b"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file_ending": ...}, "'file_ending' must be text"),
        ({"file_ending": ".mha"}, r"there is no scan in .*imagesTr, such as CASE_0000\.mha"),
        ({"channel_names": {"1": "CT"}}, "channels must be numbered from 0"),
        ({"channel_names": {"one": "CT"}}, "channels must be numbered from 0"),
        ({"channel_names": {}}, "channels must be numbered from 0"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, r"the label 'whole' is \[1, 2\], a region"),
        ({"labels": {"background": 0, "liver": 1, "ignore": 2}}, "the label 'ignore' marks voxels"),
        ({"labels": {"background": 0, "liver": 1, "spleen": 1}}, "two 'labels' have the same value"),
        ({"labels": ["liver"]}, "'labels' must map names to values"),
        ({"dataset": {"a": {"images": []}}}, "'dataset' must map every case"),
    ],
)
def test_a_fault_of_nnunet_is_named(nnunet, changes, message):
    with pytest.raises(ValueError, match=r"dataset\.json: " + message):
        read_datalist(write(nnunet, NNUNET, **changes))


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("labelsTr/spleen_31.nii.gz", "the label of case 'spleen_31'; add it"),
        ("imagesTr/spleen_31_0000.nii.gz", "a channel of case 'spleen_31'; add it"),
    ],
)
def test_a_missing_file_of_nnunet_is_named(nnunet, gone, message):
    channels = {"0": "T2", "1": "ADC"}
    fill(nnunet, *[f"imagesTr/spleen_{n}_0001.nii.gz" for n in (19, 31)])
    (nnunet / gone).unlink()
    with pytest.raises(ValueError, match=message):
        read_datalist(write(nnunet, NNUNET, channel_names=channels), "T2")


def test_held_out_cases_are_drawn_from_a_foreign_list(nnunet):
    drawn = draw_datalist(write(nnunet, NNUNET), num_test=1, seed=1)
    assert sorted(cases(drawn, "training") + cases(drawn, "test")) == ["spleen_19", "spleen_31"]
    assert len(cases(drawn, "test")) == 1 and cases(drawn, "unlabeled") == ["spleen_15"]


def test_a_group_stays_in_one_section(nnunet):
    fill(nnunet, *[f"{kind}.nii.gz" for kind in ("imagesTr/liver_1_0000", "labelsTr/liver_1")])
    drawn = draw_datalist(write(nnunet, NNUNET), group=r"(\w+)_", num_test=1)
    assert sorted(map(len, (drawn.sections["training"], drawn.sections["test"]))) in ([1, 2], [1, 1])
    held_out = {case["group"] for case in drawn.sections["test"]}
    others = {case["group"] for name in ("training", "unlabeled") for case in drawn.sections[name]}
    assert len(held_out) == 1 and not held_out & others


def test_a_list_of_ones_own_names_cases_after_their_files(tmp_path):
    own = {"name": "toy", "modality": "MR", "unlabeled": [{"image": "scans/liver_1.2.nii.gz"}, {"image": "b.nrrd"}]}
    assert cases(read_datalist(write(tmp_path, own)), "unlabeled") == ["liver_1.2", "b"]


def test_a_list_of_ones_own_has_no_channels(tmp_path):
    own = {"name": "toy", "modality": "MR", "unlabeled": [{"image": "b.nrrd"}]}
    with pytest.raises(ValueError, match="no channels to choose 'T1' from"):
        read_datalist(write(tmp_path, own), "T1")
