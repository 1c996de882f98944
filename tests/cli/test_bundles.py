import json
import shutil

import pytest
import torch

from medssl.packaging.pack import pack
from tests.hostile import MADE, NETWORKS, plant
from tests.packaging.torchvision_state import torchvision_state
from tests.packaging.toy_run import segmentation_run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    return pack(segmentation_run(folder / "run"), "toy", folder)


def test_a_good_bundle_is_ok_as_a_folder_and_as_a_zip(medssl, bundle):
    for path in (bundle, bundle.with_name(f"{bundle.name}.zip")):
        status, out, _ = medssl("bundle", "check", path)
        assert status == 0
        assert out.startswith("ok\nNot tried: models/model.ts and MONAI's commands")


def test_each_fault_is_a_line_and_exit_status_1(medssl, bundle, tmp_path):
    broken = shutil.copytree(bundle, tmp_path / bundle.name)
    metadata = json.loads((broken / "configs" / "metadata.json").read_text(encoding="utf-8"))
    (broken / "configs" / "metadata.json").write_text(json.dumps(metadata | {"version": "1", "supported_apps": []}))
    status, out, _ = medssl("bundle", "check", broken)
    assert status == 1
    assert len(out.splitlines()) == 2


def test_a_trusted_bundle_is_tried_unless_it_should_be_quick(medssl, bundle, monkeypatch):
    monkeypatch.setattr("medssl.packaging.checks.checking.rehearse", lambda path: [f"{path.name} fails."])
    assert medssl("bundle", "check", bundle, "--trust")[:2] == (1, f"{bundle.name} fails.\n")
    assert medssl("bundle", "check", bundle, "--trust", "--quick")[:2] == (0, "ok\n")


def test_a_bundle_that_is_code_is_refused_in_one_line(medssl, bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    broken = shutil.copytree(bundle, tmp_path / bundle.name)
    path = plant(broken / "configs" / "inference.json", network_def=NETWORKS["function"])
    refusal = f"{path}: network_def names 'os.system', which is not a known network or transform and is not built"
    status, out, _ = medssl("bundle", "check", broken)
    assert status == 1 and refusal in out
    (tmp_path / "scan.nii.gz").touch()
    command = ("similarity", tmp_path / "scan.nii.gz", "--point", 0, 0, 0, "--bundle", broken, "--out", tmp_path / "o")
    status, _, errors = medssl(*command)
    assert status == 1 and errors.startswith(f"Error: {refusal}") and "--trust" in errors
    assert not (tmp_path / MADE).exists()


def test_no_bundle_is_an_error_that_names_the_path(medssl, tmp_path):
    status, _, errors = medssl("bundle", "check", tmp_path / "nowhere")
    assert status == 1
    assert errors.startswith(f"Error: There is no bundle {tmp_path / 'nowhere'}")


def test_the_export_says_why_it_refuses(medssl, bundle, tmp_path):
    run = bundle.parent / "run"
    status, _, errors = medssl("bundle", "export-auto3dseg", run, "--name", "toy", "--out", tmp_path)
    assert status == 1
    assert "without medssl" in errors and "Traceback" not in errors


def test_published_weights_are_inspected_and_imported(medssl, tmp_path):
    torch.save(torchvision_state(18, width=2), tmp_path / "w.pth")
    status, out, _ = medssl("weights", "inspect", tmp_path / "w.pth")
    assert status == 0 and "--as resnet18" in out
    command = ("weights", "import", tmp_path / "w.pth", "--as", "resnet18", "--data", "image_2d", "--out", tmp_path)
    status, out, _ = medssl(*command)
    assert status == 0
    assert out.splitlines()[-1] == f"Bundle: {tmp_path / 'resnet18_pretrain'}"
    assert "fc.weight -> left out, not part of the backbone" in out


def test_weights_of_another_network_are_one_clear_line(medssl, tmp_path):
    torch.save(torchvision_state(18, width=2), tmp_path / "w.pth")
    command = ("weights", "import", tmp_path / "w.pth", "--as", "resnet50", "--data", "image_2d", "--out", tmp_path)
    status, _, errors = medssl(*command)
    assert status == 1
    assert "layer1.0.conv1.weight has the shape (2, 2, 3, 3), not (2, 2, 1, 1)" in errors and "Traceback" not in errors


def test_packing_names_the_bundle(medssl, probed, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "medssl.packaging.pack.pack", lambda *options, **more: asked.append((*options, more)) or tmp_path / "bundle"
    )
    status, out, _ = medssl("pack", probed, "--name", "toy", "--out", tmp_path)
    assert (status, out) == (0, f"Bundle: {tmp_path / 'bundle'}\n")
    assert asked == [(probed, "toy", tmp_path, {"rehearsed": True, "trust": False})]


def test_the_shipped_weights_are_listed_one_in_a_line(medssl):
    status, out, _ = medssl("weights", "list")
    header, *lines = out.splitlines()
    assert status == 0 and header.split()[:3] == ["name", "size", "modality"]
    (line,) = [line for line in lines if line.startswith("abdomen-ct ")]
    assert line.split("  ")[-1] == "CC BY 4.0"
    for cell in ("6.0 MB", " CT ", "2 x 2 x 3 mm", "16 x 4"):
        assert cell in line


def test_an_unknown_name_of_weights_says_what_there_is(medssl, ct_list, tmp_path):
    run = ("--datalist", ct_list, "--data", "ct", "--out", tmp_path / "run", "--labels", 1)
    status, _, errors = medssl("probe", *run, "--backbone", "abdomen-mr")
    assert status == 1 and "no folder abdomen-mr" in errors and "abdomen-ct" in errors
    assert not (tmp_path / "run").exists()
