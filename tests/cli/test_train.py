import json
import shutil

from tests.cli.errors import require_error
from tests.tiny import PRETRAINING, SEGMENTATION, arguments, files_of


def test_cases_are_prepared_once_and_trained_on(medssl, ct_list, tmp_path):
    prepare = ("prepare", ct_list, "--data", "ct", "--out", tmp_path / "store", "--processes", 1)
    spacing = arguments({"spacing": PRETRAINING["spacing"]})
    said = f"Store: {tmp_path / 'store'} "
    assert medssl(*prepare, *spacing)[:2] == (0, f"{said}(3 made, 0 kept, 0 failed)\n")
    assert medssl(*prepare, "--verify", *spacing)[:2] == (0, f"{said}(0 made, 3 kept, 0 failed)\n")
    command = ("pretrain", "kats", "--datalist", ct_list, "--data", "ct", "--store", tmp_path / "store")
    assert medssl(*command, "--out", tmp_path / "run", *arguments(PRETRAINING))[0] == 0
    require_error(medssl(*command, "--out", tmp_path / "other"), "other settings", "pixdim")


def test_a_case_that_cannot_be_prepared_is_one_line_and_exit_status_1(medssl, ct_list, tmp_path):
    shutil.copytree(ct_list.parent, tmp_path / "data")
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    broken = tmp_path / "data" / listed["unlabeled"][0]["image"]
    broken.write_bytes(broken.read_bytes()[:500])
    command = ("prepare", tmp_path / "data" / "datalist.json", "--data", "ct", "--out", tmp_path / "store")
    status, out, _ = medssl(*command, "--processes", 1)
    assert status == 1
    assert out.splitlines()[0].startswith(f"{listed['unlabeled'][0]['case']}: error: ") and str(broken) in out
    assert out.splitlines()[1] == f"Store: {tmp_path / 'store'} (2 made, 0 kept, 1 failed)"


def test_training_on_a_broken_scan_names_it(medssl, ct_list, tmp_path):
    shutil.copytree(ct_list.parent, tmp_path / "data")
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    broken = tmp_path / "data" / listed["unlabeled"][0]["image"]
    broken.write_bytes(broken.read_bytes()[:500])
    datalist = tmp_path / "data" / "datalist.json"
    command = ("pretrain", "kats", "--datalist", datalist, "--data", "ct", "--out", tmp_path / "run")
    require_error(medssl(*command, *arguments(PRETRAINING)), broken.name)
    assert not (tmp_path / "run" / "backbone.pt").exists()


def test_a_folder_that_holds_a_run_is_refused_and_stays_as_it_is(medssl, ct_list, pretrained):
    before = files_of(pretrained)
    command = ("pretrain", "vox2vec", "--datalist", ct_list, "--data", "ct", "--out", pretrained)
    require_error(medssl(*command), str(pretrained), "already holds a run", "--resume")
    assert files_of(pretrained) == before


def test_a_cached_probe_keeps_its_features_where_it_is_told(medssl, ct_list, tmp_path):
    sizes = {**SEGMENTATION, "base_channels": 4, "num_levels": 2, "patches_per_case": 2, "rows_per_patch": 50}
    command = ("probe", "--datalist", ct_list, "--data", "ct", "--labels", 1, *arguments(sizes))
    features = tmp_path / "features"
    status, out, _ = medssl(*command, "--out", tmp_path / "run", "--cached", "--features", features)
    assert (status, out) == (0, f"Network: {tmp_path / 'run' / 'model.pt'}\n")
    assert len(list(features.glob("*.json"))) == 2
    paper = ("--with", "paper_probe", "--features", features)
    require_error(medssl(*command, "--out", tmp_path / "other", *paper), "add --cached")
    assert not (tmp_path / "other").exists()


def test_settings_of_a_training_that_a_solved_probe_ignores_are_said(medssl, ct_list, tmp_path):
    sizes = {**SEGMENTATION, "base_channels": 4, "num_levels": 2, "max_epochs": 3}
    command = ("probe", "--datalist", ct_list, "--data", "ct", "--labels", 1, *arguments(sizes))
    _, out, _ = medssl(*command, "--out", tmp_path / "run")
    assert out.startswith("The head is solved, not trained, so these change nothing: --max_epochs, --steps_per_epoch")
    assert "change nothing" not in medssl(*command, "--with", "paper_probe", "--out", tmp_path / "other")[1]
