import json
import shutil

from tests.cli.errors import require_error
from tests.slices import write_pictures


def test_a_list_is_made_from_folders_and_checked(medssl, ct_list, tmp_path):
    images, labels, made = ct_list.parent / "images", ct_list.parent / "labels", tmp_path / "list.json"
    options = ("--labels", labels, "--modality", "ct", "--validation", 1, "--test", 1)
    status, out, _ = medssl("datalist", images, "--out", made, *options)
    assert (status, out) == (0, f"Data list: {made} (2 training, 1 validation, 1 test, 1 unlabeled)\n")
    assert json.loads(made.read_text(encoding="utf-8"))["name"] == "images"
    status, out, _ = medssl("check", made, "--data", "ct", "--data", "phantom")
    assert status == 0
    assert out.splitlines()[-1].startswith("5 cases, 0 errors")


def test_volumes_are_cut_into_slices(medssl, mr_list, tmp_path):
    status, out, _ = medssl("slices", mr_list, "--out", tmp_path / "slices", "--axis", 1)
    made = tmp_path / "slices" / "datalist.json"
    assert (status, out) == (0, f"Data list: {made}\n")
    listed = json.loads(made.read_text(encoding="utf-8"))
    assert (listed["spatial_dims"], len({case["group"] for case in listed["training"]})) == (2, 2)
    status, out, _ = medssl("folds", made, "--out", tmp_path / "folds", "--count", 3)
    assert status == 0 and len(out.splitlines()) == 3
    require_error(medssl("slices", made, "--out", tmp_path / "again"), "already lists 2D images")


def test_slices_of_a_relative_folder_pass_the_check(medssl, mr_list, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert medssl("slices", mr_list, "--out", "slices")[0] == 0
    status, out, _ = medssl("check", "slices/datalist.json", "--data", "mr_slices")
    assert status == 0, out
    assert ", 0 errors" in out.splitlines()[-1]


def test_a_list_is_made_from_pictures_and_colour_masks(medssl, slice_list, tmp_path):
    write_pictures(slice_list, tmp_path / "pictures", colours=True)
    made = tmp_path / "list.json"
    folders = ("datalist", tmp_path / "pictures", "--labels", tmp_path / "pictures", "--out", made)
    require_error(medssl(*folders), "is a mask", "say in label_colours")
    options = ("--label-colours", "0=else,1=#ff0000,2=#0000ff", "--group", r"(.*)_z", "--test", 1)
    status, out, _ = medssl(*folders, *options)
    assert (status, out) == (0, f"Data list: {made} (48 training, 0 validation, 16 test, 16 unlabeled)\n")
    status, out, _ = medssl("check", made, "--data", "image_2d", "--data", "image_rgb_2d")
    assert status == 0
    status, out, _ = medssl("check", made, "--data", "image_2d")
    assert status == 1 and "in_channels is 1" in out


def test_a_bad_list_is_one_line_a_case_and_exit_status_1(medssl, ct_list, tmp_path):
    shutil.copytree(ct_list.parent, tmp_path / "data")
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    broken = tmp_path / "data" / listed["training"][0]["image"]
    broken.write_bytes(broken.read_bytes()[:500])
    status, out, _ = medssl("check", tmp_path / "data" / "datalist.json")
    lines = out.splitlines()
    assert status == 1
    assert len(lines) == 6
    assert lines[0].startswith(f"training {listed['training'][0]['case']}: error: ")
    assert all(line.endswith(": ok") for line in lines[1:-1])
    assert lines[-1] == "5 cases, 1 errors, 0 warnings"


def test_a_list_of_nnunet_is_checked_and_drawn_from(medssl, tmp_path, ct_list):
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for case in listed["training"]:
        shutil.copy(ct_list.parent / case["image"], tmp_path / "imagesTr" / f"{case['case']}_0000.nii.gz")
        shutil.copy(ct_list.parent / case["label"], tmp_path / "labelsTr" / f"{case['case']}.nii.gz")
    labels = {name: int(value) for value, name in listed["labels"].items()}
    content = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"}
    path, made = tmp_path / "dataset.json", tmp_path / "list.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    status, out, _ = medssl("check", path)
    assert status == 0 and ", 0 errors" in out.splitlines()[-1]
    status, out, _ = medssl("datalist", path, "--validation", 1, "--out", made)
    count = len(listed["training"])
    assert (status, out) == (0, f"Data list: {made} ({count - 1} training, 1 validation, 0 test, 0 unlabeled)\n")
    require_error(medssl("datalist", path, "--labels", tmp_path, "--out", made), "leave those options out")
