import json
import shutil

import pytest
import torch

from medssl.packaging.checks.preflight import check_bundle
from medssl.packaging.pack import pack
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
    assert "models/model.pt does not fit the network" in check_bundle(bundle)[0]


def test_a_checkpoint_in_place_of_weights_is_found(bundle):
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    torch.save({"model": weights, "epoch": 3}, bundle / "models" / "model.pt")
    assert "holds no raw state dict" in check_bundle(bundle)[0]


def test_a_script_of_other_weights_is_found(bundle):
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    weights["head.convs.1.bias"] += 0.1
    torch.save(weights, bundle / "models" / "model.pt")
    assert "models/model.ts differs from models/model.pt by 1.0e-01" in check_bundle(bundle, trust=True)[0]


def test_a_wrong_number_of_channels_is_found(bundle):
    change(bundle, "configs/metadata.json", "network_data_format", "outputs", "pred", "num_channels", value=5)
    assert "gives 2 channels, configs/metadata.json says 5" in check_bundle(bundle)[0]


def test_a_folder_of_scripts_is_found(bundle):
    (bundle / "scripts").mkdir()
    (fault,) = check_bundle(bundle)
    assert "scripts" in fault and "install it" in fault


def test_foreign_weights_beside_the_model_are_found(bundle):
    torch.save({}, bundle / "models" / "backbone.pt")
    (fault,) = check_bundle(bundle)
    assert fault.startswith("models/backbone.pt") and "MONAI Label" in fault


def test_a_link_is_found(bundle, tmp_path):
    (bundle / "models" / "model.pt").rename(tmp_path / "model.pt")
    (bundle / "models" / "model.pt").symlink_to(tmp_path / "model.pt")
    (fault,) = check_bundle(bundle)
    assert fault.startswith("models/model.pt is a link")


class Payload:
    """An object whose unpickling would leave a trace."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def test_a_pickled_object_in_the_weights_is_found_and_not_run(bundle):
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    torch.save({**weights, "args": Payload()}, bundle / "models" / "model.pt")
    assert "models/model.pt is damaged, or holds objects" in check_bundle(bundle)[0]


def test_the_weights_of_another_head_are_found(bundle):
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    weights["head.convs.1.weight"] = torch.zeros(5, *weights["head.convs.1.weight"].shape[1:])
    torch.save(weights, bundle / "models" / "model.pt")
    fault = check_bundle(bundle)[0]
    assert "models/model.pt" in fault and "size mismatch for head.convs.1.weight" in fault


def test_weights_exchanged_after_packing_are_found(bundle):
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    torch.save({name: value.clone() for name, value in weights.items()} | {}, bundle / "models" / "model.pt")
    content = json.loads((bundle / "provenance.json").read_text(encoding="utf-8"))
    content["sha256"]["model.pt"] = "0" * 64
    (bundle / "provenance.json").write_text(json.dumps(content))
    assert check_bundle(bundle) == [
        "models/model.pt is not the file whose SHA-256 is in provenance.json; pack the run again."
    ]


@pytest.mark.parametrize("name", ["configs/metadata.json", "configs/inference.json", "configs/train.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1, "a": 2}', "[" * 100_000])
def test_a_file_that_is_not_a_plain_json_object_is_named(name, content, bundle):
    (bundle / name).write_text(content)
    (fault,) = check_bundle(bundle)
    assert fault.startswith(name)


def test_a_label_value_that_occurs_twice_is_found(bundle):
    path = bundle / "configs" / "metadata.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"1": "liver",', '"1": "liver", "1": "spleen",'))
    (fault,) = check_bundle(bundle)
    assert "the name '1' occurs twice" in fault


def test_a_train_configuration_without_its_inferer_is_found(bundle):
    change(bundle, "configs/train.json", "train", "inferer", value=None)
    assert check_bundle(bundle) == ["configs/train.json lacks train::inferer."]


def test_an_optional_property_that_is_not_a_plain_reference_is_found(bundle):
    change(bundle, "configs/inference.json", "evaluator", "val_handlers", value=[{"_target_": "StatsHandler"}])
    (fault,) = check_bundle(bundle)
    assert "configs/inference.json: evaluator::val_handlers must be the plain reference '@handlers'" in fault


def test_a_number_of_input_channels_that_the_network_cannot_take_is_found(bundle):
    change(bundle, "configs/metadata.json", "network_data_format", "inputs", "image", "num_channels", value=3)
    (fault,) = check_bundle(bundle)
    assert "does not take what network_data_format.inputs" in fault


def test_a_network_that_cannot_be_built_gives_one_sentence(bundle):
    change(bundle, "configs/inference.json", "backbone_def", "num_levels", value="many")
    (fault,) = check_bundle(bundle)
    assert fault.startswith("configs/inference.json: network_def cannot be built: ")
    assert len(fault.splitlines()) == 1


def test_a_folder_whose_name_hides_the_segmentation_is_found(bundle):
    renamed = bundle.rename(bundle.with_name("liver"))
    (fault,) = check_bundle(renamed)
    assert "'segmentation' in its name" in fault
