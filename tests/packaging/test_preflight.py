import json
import shutil

import pytest
import torch

from medssl.packaging.pack import pack
from medssl.packaging.preflight import check_bundle
from tests.packaging.toy_run import segmentation_run


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return pack(segmentation_run(tmp_path_factory.mktemp("run")), "toy", zip_bundle=False)


@pytest.fixture
def bundle(good, tmp_path):
    return shutil.copytree(good, tmp_path / good.name)


def change(bundle, name, *keys, value):
    content = json.loads((bundle / name).read_text(encoding="utf-8"))
    place = content
    for key in keys[:-1]:
        place = place[key]
    if value is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    (bundle / name).write_text(json.dumps(content))


def test_a_good_bundle_has_no_fault(bundle):
    assert check_bundle(bundle) == []


@pytest.mark.parametrize("name", ["LICENSE", "models/model.ts", "docs/README.md"])
def test_a_missing_file_is_named(bundle, name):
    (bundle / name).unlink()
    assert check_bundle(bundle) == [f"The bundle lacks {name}."]


def test_a_missing_metadata_key_is_named(bundle):
    change(bundle, "configs/metadata.json", "copyright", value=None)
    assert check_bundle(bundle) == ["configs/metadata.json lacks copyright."]


def test_the_version_is_semantic(bundle):
    change(bundle, "configs/metadata.json", "version", value="first")
    assert "three numbers" in check_bundle(bundle)[0]


@pytest.mark.parametrize(
    ("channel_def", "message"),
    [
        ({"0": "background", "1": "liver", "3": "spleen"}, "without gaps"),
        ({"1": "liver", "2": "spleen"}, "0 = background"),
        ({"0": "background", "1": "liver", "2": "liver"}, "share a name"),
    ],
)
def test_labels_that_slicer_would_lose_are_found(bundle, channel_def, message):
    change(bundle, "configs/metadata.json", "network_data_format", "outputs", "pred", "channel_def", value=channel_def)
    assert message in " ".join(check_bundle(bundle))


def test_a_missing_setting_is_named(bundle):
    change(bundle, "configs/inference.json", "inferer", value=None)
    assert check_bundle(bundle) == ["configs/inference.json lacks inferer."]


def test_the_checkpoint_loader_comes_first(bundle):
    change(bundle, "configs/inference.json", "handlers", value=[{"_target_": "StatsHandler"}])
    assert "must be CheckpointLoader" in check_bundle(bundle)[0]


def test_a_path_outside_the_bundle_is_found(bundle):
    change(bundle, "configs/inference.json", "backbone_weights", value="/data/backbone.pt")
    assert check_bundle(bundle) == [
        "configs/inference.json names '/data/backbone.pt', which is not part of the bundle."
    ]


def test_weights_that_do_not_fit_are_found(bundle):
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    weights.popitem()
    torch.save(weights, bundle / "models" / "model.pt")
    assert "do not fit the network" in check_bundle(bundle)[0]


def test_a_checkpoint_in_place_of_weights_is_found(bundle):
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    torch.save({"model": weights, "epoch": 3}, bundle / "models" / "model.pt")
    assert "must hold a raw state dict" in check_bundle(bundle)[0]


def test_a_script_of_other_weights_is_found(bundle):
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    weights["head.convs.1.bias"] += 0.1
    torch.save(weights, bundle / "models" / "model.pt")
    assert "models/model.ts differs from models/model.pt by 1.0e-01" in check_bundle(bundle)[0]


def test_a_wrong_number_of_channels_is_found(bundle):
    change(bundle, "configs/metadata.json", "network_data_format", "outputs", "pred", "num_channels", value=5)
    assert "gives 2 channels, configs/metadata.json says 5" in check_bundle(bundle)[0]
