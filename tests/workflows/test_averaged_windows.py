"""Windows that are averaged, instead of weighted by their centre, as a layer."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from medssl.packaging.sources import source_bundles
from medssl.workflows.training import evaluate

CONFIGS = source_bundles() / "segmentation" / "configs"


@pytest.fixture
def run(probed, tmp_path):
    """A copy of the probe that a test may change."""
    return Path(shutil.copytree(probed, tmp_path / "copy"))


def inferer(files, name):
    parser = ConfigParser(ConfigParser.load_config_files([str(CONFIGS / file) for file in files]))
    parser.update({"patch_size": [2], "overlap": 0.5})
    return parser.get_parsed_content(name)


@pytest.mark.parametrize(
    ("last", "name"), [("train.yaml", "validate::inferer"), ("evaluate.yaml", "evaluate::inferer")]
)
def test_a_voxel_is_the_mean_of_the_windows_that_see_it(last, name):
    windows = inferer(["train.yaml", "averaged_windows.yaml", last][: 3 if last == "evaluate.yaml" else 2], name)
    # Windows [1 2], [2 4] and [4 8]; each answers its own sum in both of its voxels.
    answer = windows(torch.tensor([[[1.0, 2.0, 4.0, 8.0]]]), lambda x: x.sum(dim=2, keepdim=True).repeat(1, 1, 2))
    assert answer.flatten().tolist() == [3.0, 4.5, 9.0, 12.0]


def test_an_evaluation_can_ask_for_them(run):
    evaluate(run, layers=["averaged_windows"])
    assert json.loads((run / "evaluate.json").read_text(encoding="utf-8"))["window_mode"] == "constant"


def test_a_run_that_is_older_than_the_setting_is_evaluated_as_before(run):
    expected = evaluate(run).read_text(encoding="utf-8")
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    del config["window_mode"]
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert evaluate(run).read_text(encoding="utf-8") == expected
