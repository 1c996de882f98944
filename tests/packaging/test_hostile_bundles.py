import json
import shutil
from pathlib import Path

import pytest
import torch

from medssl.packaging.checks.checking import check_packed
from medssl.packaging.loading import load_bundle
from medssl.packaging.pack import pack
from tests.hostile import MADE, NETWORKS, TRANSFORMS, plant
from tests.packaging.toy_run import segmentation_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return segmentation_run(tmp_path_factory.mktemp("hostile") / "run")


@pytest.fixture(scope="module")
def packed(run):
    return pack(run, "toy", run.parent / "bundle", zip_bundle=False)


@pytest.fixture
def bundle(packed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(packed, tmp_path / packed.name)


@pytest.mark.parametrize("attack", NETWORKS)
def test_a_network_that_is_code_is_refused_by_its_key(bundle, attack):
    path = plant(bundle / "configs" / "inference.json", network_def=NETWORKS[attack])
    with pytest.raises(ValueError, match=r"inference\.json: (network_def|planted|nested).*--trust"):
        load_bundle(bundle)
    assert any(str(path) in fault and "--trust" in fault for fault in check_packed(bundle))
    assert not Path(MADE).exists()


@pytest.mark.parametrize("attack", TRANSFORMS)
def test_a_transform_that_is_code_is_refused_by_its_key(bundle, attack):
    path = bundle / "configs" / "inference.json"
    own = json.loads(path.read_text(encoding="utf-8"))["image_transforms"]
    plant(path, image_transforms=[*own, TRANSFORMS[attack]])
    with pytest.raises(ValueError, match=r"inference\.json: image_transforms::\d.*--trust"):
        load_bundle(bundle)
    assert any("image_transforms::" in fault and "--trust" in fault for fault in check_packed(bundle))
    assert not Path(MADE).exists()


@pytest.mark.parametrize("name", ["patch_size", "overlap", "growth_stride", "keys", "backbone_def", "postprocessing"])
def test_code_anywhere_else_is_refused_by_its_key(bundle, name):
    plant(bundle / "configs" / "inference.json", **{name: NETWORKS["expression"]})
    assert any(f"inference.json: {name}" in fault for fault in check_packed(bundle))
    if name != "postprocessing":
        with pytest.raises(ValueError, match=rf"inference\.json: {name} is the expression"):
            load_bundle(bundle)
    assert not Path(MADE).exists()


@pytest.mark.parametrize("name", ["imports", "initialize", "run", "evaluator", "somewhere"])
def test_what_medssl_does_not_need_is_not_run(bundle, name):
    plant(bundle / "configs" / "inference.json", **{name: [NETWORKS["expression"], NETWORKS["function"]]})
    load_bundle(bundle).preprocessing()
    check_packed(bundle)
    assert not Path(MADE).exists()


@pytest.mark.parametrize("attack", ["function", "expression", "component by reference", "requirement", "disabled"])
def test_the_attacks_are_real_with_trust(bundle, attack):
    plant(bundle / "configs" / "inference.json", network_def=NETWORKS[attack])
    with pytest.raises(Exception):  # noqa: B017 (whatever the result of the code leads to)
        load_bundle(bundle, trust=True)
    assert Path(MADE).is_dir()


def test_the_attack_by_a_reader_is_real_with_trust(bundle):
    plant(bundle / "configs" / "inference.json", image_transforms=[TRANSFORMS["reader by name"]])
    with pytest.raises(RuntimeError):
        load_bundle(bundle, trust=True).preprocessing()
    assert Path(MADE).is_dir()


def test_metadata_and_provenance_are_data(bundle):
    for name in ("configs/metadata.json", "provenance.json", "configs/train.json"):
        plant(bundle / name, name=NETWORKS["expression"], version=NETWORKS["function"])
    check_packed(bundle)
    load_bundle(bundle)
    assert not Path(MADE).exists()


def test_a_script_is_a_program_and_is_opened_with_trust_only(bundle):
    (bundle / "models" / "model.ts").write_bytes(b"not a script")
    assert not any("model.ts" in fault and "TorchScript" in fault for fault in check_packed(bundle))
    assert any(
        "model.ts cannot be read as TorchScript" in fault for fault in check_packed(bundle, trust=True, quick=True)
    )


def test_a_bundle_of_another_package_is_opened_with_trust(bundle, monkeypatch):
    Path("someones.py").write_text("from torch import nn\nclass Net(nn.Identity): pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(Path.cwd())
    plant(bundle / "configs" / "inference.json", network_def={"_target_": "someones.Net"})
    torch.save({"a": torch.zeros(1)}, bundle / "models" / "model.pt")
    with pytest.raises(ValueError, match=r"names 'someones\.Net', which is not a known network"):
        load_bundle(bundle)
    with pytest.raises(ValueError, match=r"model\.pt does not fit the network.*Unexpected key"):
        load_bundle(bundle, trust=True)


def test_a_configuration_nested_beyond_reason_is_refused(bundle):
    path = bundle / "configs" / "inference.json"
    path.write_text('{"network_def": ' + "[" * 100_000 + "]" * 100_000 + "}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"inference\.json is damaged"):
        load_bundle(bundle)
    path.write_text('{"network_def": ' + "[" * 400 + "]" * 400 + "}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"inference\.json.*(is nested too deeply|is no network)"):
        load_bundle(bundle)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"network_def": ', b"\xff\xfe", b'{"a": 1}'])
def test_a_damaged_configuration_is_named(bundle, content):
    (bundle / "configs" / "inference.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"configs/inference\.json (is damaged|refers to 'network_def')"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"initialize": [NETWORKS["function"]]}, "initialize is not that of medssl's recipes"),
        ({"imports": ["$import someones"]}, r"\$import someones', which imports code"),
        ({"seed": NETWORKS["function"]}, r"seed names 'os\.system'"),
        ({"planted": ["$from os import mkdir"]}, "which imports code and is not run"),
        ({"network_def": NETWORKS["function"]}, r"network_def names 'os\.system'"),
        ({"patch_size": NETWORKS["expression"]}, "patch_size is the expression"),
    ],
)
def test_a_run_that_is_code_is_packed_with_trust_only(run, tmp_path, monkeypatch, settings, message):
    monkeypatch.chdir(tmp_path)
    copy = shutil.copytree(run, tmp_path / "run")
    content = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps({**content, **settings}), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        pack(copy, "toy", tmp_path / "out", rehearsed=True)
    assert not (tmp_path / "out" / "toy_linear_probe_segmentation").exists()
    assert not Path(MADE).exists()
