import hashlib
import json
import zipfile

import pytest
import torch
from monai.bundle import ConfigWorkflow, verify_net_in_out

from medssl.files import STAGING
from medssl.packaging.checks.preflight import check_bundle
from medssl.packaging.inference_config import build_network
from medssl.packaging.pack import bundle_name, pack
from tests.packaging.toy_run import LABELS, pretraining_run, segmentation_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return segmentation_run(tmp_path_factory.mktemp("run") / "probe")


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    return pack(run, "toy", tmp_path_factory.mktemp("bundles"))


def read(bundle, name):
    return json.loads((bundle / name).read_text(encoding="utf-8"))


def test_the_name_says_what_the_bundle_does(bundle):
    assert bundle.name == "toy_linear_probe_segmentation"


def test_weights_are_those_of_the_run(run, bundle):
    packed, own = (
        torch.load(path / name, weights_only=True) for path, name in [(bundle, "models/model.pt"), (run, "model.pt")]
    )
    assert list(packed) == list(own)
    assert all(torch.equal(packed[key], own[key]) for key in own)


def test_the_script_gives_the_output_of_the_network(bundle):
    network = build_network(bundle / "configs" / "inference.json")
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    script = torch.jit.load(bundle / "models" / "model.ts")
    image = torch.rand(1, 1, 9, 12, 7)
    with torch.no_grad():
        torch.testing.assert_close(script(image), network(image), atol=1e-5, rtol=0)


def test_monai_verifies_the_network(bundle):
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        device="cpu",
        n=4,
    )


def test_monai_finds_every_property_of_a_workflow(bundle):
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="inference",
        bundle_root=str(bundle),
        input=str(bundle / "LICENSE"),
    )
    workflow.initialize()
    assert not workflow.check_properties()


def test_labels_are_contiguous_from_background(bundle):
    assert read(bundle, "configs/metadata.json")["network_data_format"]["outputs"]["pred"]["channel_def"] == LABELS


def test_the_zip_holds_the_folder(bundle):
    with zipfile.ZipFile(bundle.with_name(f"{bundle.name}.zip")) as archive:
        files = {name for name in archive.namelist() if not name.endswith("/")}
    assert files == {f"{bundle.name}/{path.relative_to(bundle)}" for path in bundle.rglob("*") if path.is_file()}


def test_provenance_has_the_hash_of_the_weights(bundle):
    sha256 = hashlib.sha256((bundle / "models" / "model.pt").read_bytes()).hexdigest()
    assert read(bundle, "provenance.json")["sha256"]["model.pt"] == sha256


def test_no_folder_of_the_author_is_published(run, bundle):
    for path in bundle.rglob("*"):
        if path.suffix in (".json", ".md"):
            assert str(run.parent) not in path.read_text(encoding="utf-8")


def test_no_temporary_files_are_left(bundle):
    assert {path.name for path in bundle.parent.iterdir()} == {bundle.name, f"{bundle.name}.zip"}


def test_a_relative_path_is_in_the_current_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pack(run, "other", "bundles", zip_bundle=False).resolve().parent == tmp_path / "bundles"
    assert check_bundle(tmp_path / "bundles" / "other_linear_probe_segmentation") == []


def test_an_existing_bundle_is_not_touched(run, bundle):
    with pytest.raises(FileExistsError, match="choose another name"):
        pack(run, "toy", bundle.parent)


def test_a_run_that_has_not_finished_is_refused(run, tmp_path):
    record = json.loads((run / "run.json").read_text(encoding="utf-8")) | {"finished": None}
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="has not finished"):
        pack(tmp_path, "toy")


def test_weights_of_another_network_are_refused_and_nothing_is_left(tmp_path):
    run = segmentation_run(tmp_path / "run")
    config = json.loads((run / "config.json").read_text(encoding="utf-8")) | {"base_channels": 8}
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="The weights do not fit the network"):
        pack(run, "toy", tmp_path / "bundles")
    assert list((tmp_path / "bundles").iterdir()) == []


def test_labels_that_do_not_fit_the_network_are_refused(tmp_path):
    run = segmentation_run(tmp_path / "run")
    config = json.loads((run / "config.json").read_text(encoding="utf-8")) | {"class_names": {**LABELS, "3": "spleen"}}
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="The network gives 2 classes, channel_def names 3"):
        pack(run, "toy", zip_bundle=False)


def test_pretraining_gives_a_bundle_whose_weights_start_a_segmentation_network(run, tmp_path):
    packed = pack(pretraining_run(tmp_path / "run"), "toy", zip_bundle=False)
    assert packed == tmp_path / "run" / "bundle" / "toy_pretrain"
    weights = torch.load(packed / "models" / "model.pt", weights_only=True)
    segmentation = torch.load(run / "model.pt", weights_only=True)
    assert set(weights) == {key for key in segmentation if key.startswith("backbone.")}


@pytest.mark.parametrize("name", ["", "../elsewhere", ".hidden", "a/b", "a b", "a; rm -r .", "-a", "a\n", "$(a)"])
def test_a_name_must_be_a_folder_name(name):
    with pytest.raises(ValueError, match="cannot name a bundle"):
        bundle_name(name, {"kind": "pretrain"})


def test_a_call_that_was_killed_between_archive_and_folder_is_repeated(tmp_path):
    run = pretraining_run(tmp_path / "run")
    folder = run / "bundle"
    (folder / f"{STAGING}k3v_9x2a" / "toy_pretrain").mkdir(parents=True)
    (folder / "toy_pretrain.zip").write_text("of the killed call")
    pack(run, "toy")
    assert sorted(path.name for path in folder.iterdir()) == ["toy_pretrain", "toy_pretrain.zip"]
    with pytest.raises(FileExistsError, match="toy_pretrain exists"):
        pack(run, "toy")


def test_an_archive_of_the_users_own_is_kept(tmp_path):
    run = pretraining_run(tmp_path / "run")
    (run / "bundle").mkdir()
    (run / "bundle" / "toy_pretrain.zip").write_text("mine")
    with pytest.raises(FileExistsError, match=r"toy_pretrain\.zip exists"):
        pack(run, "toy")
    assert (run / "bundle" / "toy_pretrain.zip").read_text() == "mine"
