import hashlib
import itertools
import json
import re

import pytest

from medssl.packaging.metadata import bundle_metadata
from medssl.packaging.model_card import model_card
from medssl.packaging.pack import pack
from medssl.runs.record import volumes_record
from tests.packaging.toy_run import segmentation_run

LABELS = {1: "liver", 2: "left kidney"}
SHA256 = {"model.pt": "ab" * 32, "model.ts": "cd" * 32}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return segmentation_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def record(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(run):
    return [json.loads(line) for line in (run / "rows.jsonl").read_text(encoding="utf-8").splitlines()]


def test_results_are_means_over_the_cases_that_count(record, rows):
    card = model_card("toy", "Task", record, LABELS, rows, SHA256)
    assert "| liver | 2 | 0.700 | 7.000 | – |" in card
    assert "| left kidney | 2 | 0.500 (1) | 5.000 (1) | – |" in card


def test_a_run_without_evaluation_says_so(record):
    assert "Not evaluated." in model_card("toy", "Task", record, LABELS, [], SHA256)


def test_data_and_training_are_stated(record):
    card = model_card("toy", "Task", record, LABELS, [], SHA256)
    for fact in (record["datalist"]["sha256"], "1 training, 2 unlabeled", "CC BY 4.0", "linear probe", "seed 0"):
        assert fact in card


def test_a_backbone_claims_no_structures(record):
    card = model_card("toy", "Task", {**record, "setting": None, "labels": 0}, {}, [], SHA256)
    assert "not a segmentation" in card
    assert "SCAN_features.nii.gz" in card


@pytest.mark.parametrize(
    "heading", ["Trained on", "How", "How well", "Intended use", "Limits", "How to run", "Files", "Licence"]
)
def test_every_part_has_its_heading_and_some_text(heading, record, rows):
    _, _, rest = model_card("toy", "Task", record, LABELS, rows, SHA256).partition(f"\n## {heading}\n")
    assert rest.split("\n## ")[0].strip()


def test_the_weights_have_their_hash(record):
    card = model_card("toy", "Task", record, LABELS, [], SHA256)
    assert f"SHA-256 of `models/model.pt`: `{'ab' * 32}`" in card


def test_the_card_of_a_bundle_has_the_hash_of_its_weights(run, tmp_path):
    bundle = pack(run, "toy", tmp_path, zip_bundle=False)
    digest = hashlib.sha256((bundle / "models" / "model.pt").read_bytes()).hexdigest()
    assert digest in (bundle / "docs" / "README.md").read_text(encoding="utf-8")


def test_the_versions_and_the_recipe_are_stated(record):
    card = model_card("toy", "Task", record, LABELS, [], SHA256)
    for library in ("python", "medssl", "monai", "torch", "numpy"):
        assert f"{library} {record['versions'][library]}" in card
    assert all(path in card for path in record["recipe"]) and "configs/train.json" in card
    assert f"{record['steps']} steps" in card


def test_each_way_to_run_it_is_described(record):
    card = model_card("toy_segmentation", "Task", record, LABELS, [], SHA256)
    blocks = re.findall(r"```(\w+)\n(.*?)```", card, flags=re.DOTALL)
    command, server, code = (text for _, text in blocks)
    assert "python -m monai.bundle run --config_file toy_segmentation/configs/inference.json" in command
    assert "monailabel start_server" in server and "--conf models toy_segmentation" in server
    compile(code, "card", "exec")


def test_lines_of_shell_blocks_are_not_cut(record):
    card = model_card("toy_segmentation", "Task", record, LABELS, [], SHA256)
    for text in re.findall(r"```bash\n(.*?)```", card, flags=re.DOTALL):
        for line, following in itertools.pairwise(text.splitlines()):
            assert line.endswith(" \\") == following.startswith("    ")


def test_a_backbone_is_not_offered_to_monai_label(record):
    card = model_card("toy", "Task", {**record, "setting": None, "labels": 0}, {}, [], SHA256)
    assert "monailabel" not in card
    assert "To start networks" in card


def test_a_backbone_of_synthetic_volumes_has_seen_no_scan(record):
    volumes = volumes_record({"_target_": "medssl.phantom.synthetic.SyntheticVolumes", "seed": 3})
    made = {**record, "setting": None, "labels": 0, "backbone_sha256": None, "datalist": volumes}
    card = model_card("toy", "Task", made, {}, [], SHA256)
    for fact in (volumes["sha256"], "synthetic volumes only, and no scan", "networks for scans of any modality"):
        assert fact in card
    assert "data list" not in card
    source = bundle_metadata({}, "toy", made, {}, (1, 2), (1, 4), 3)["data_source"]
    assert source.startswith("made by 'SyntheticVolumes'")
