import pytest

from medssl.packaging.checks.metadata_faults import label_faults, metadata_faults
from medssl.packaging.metadata import bundle_metadata

RECORD = {
    "method": "kats",
    "setting": "fine_tune",
    "datalist": {"name": "toy", "sha256": "0" * 64, "modality": "MR"},
}
TEMPLATE = {"version": "1.2.3", "description": "d", "authors": "a", "copyright": "c"}


@pytest.fixture
def metadata():
    return bundle_metadata(TEMPLATE, "toy", RECORD, {1: "liver", 2: "spleen"}, (1, 2), (1, 2), 3)


def test_what_medssl_writes_has_no_fault(metadata):
    assert list(metadata_faults(metadata)) == []


@pytest.mark.parametrize("version", ["0.1.0", "10.20.30", "1.0.0-rc.1", "1.0.0+build5"])
def test_semantic_versions_are_accepted(version, metadata):
    assert list(metadata_faults(metadata | {"version": version})) == []


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "first", "01.2.3", "1.0.0.0", "", 1.0, None])
def test_other_versions_are_found(version, metadata):
    (fault,) = metadata_faults(metadata | {"version": version})
    assert "three numbers" in fault and "configs/metadata.json" in fault


@pytest.mark.parametrize("packages", [{}, {"nibabel": "5"}, "medssl", None])
def test_packages_without_medssl_are_found(packages, metadata):
    (fault,) = metadata_faults(metadata | {"required_packages_version": packages})
    assert "must name medssl" in fault


def test_packages_under_their_older_name_only_are_found(metadata):
    metadata["optional_packages_version"] = metadata.pop("required_packages_version")
    assert list(metadata_faults(metadata)) == ["configs/metadata.json lacks required_packages_version."]


@pytest.mark.parametrize("apps", [[], "monailabel", None])
def test_supported_apps_that_are_not_an_object_are_found(apps, metadata):
    (fault,) = metadata_faults(metadata | {"supported_apps": apps})
    assert "supported_apps must be an object" in fault


@pytest.mark.parametrize(("group", "key"), [("inputs", "image"), ("outputs", "pred")])
def test_tensors_with_other_names_are_found(group, key, metadata):
    io = metadata["network_data_format"]
    io[group] = {"other": io[group][key], key: io[group][key]}
    (fault,) = metadata_faults(metadata)
    assert f"the first of network_data_format.{group} must be '{key}'" in fault


def test_a_tensor_without_its_size_is_found(metadata):
    del metadata["network_data_format"]["inputs"]["image"]["spatial_shape"]
    (fault,) = metadata_faults(metadata)
    assert "inputs.image lacks spatial_shape" in fault


@pytest.mark.parametrize(
    ("key", "value"), [("num_channels", "one"), ("num_channels", 1.5), ("type", 3), ("value_range", "0 to 1")]
)
def test_what_the_schema_forbids_is_found_with_its_place(key, value, metadata):
    metadata["network_data_format"]["inputs"]["image"][key] = value
    (fault,) = metadata_faults(metadata)
    assert f"schema of 2024-07-25 at network_data_format.inputs.image.{key}: " in fault


def test_more_names_than_channels_are_right(metadata):
    prediction = metadata["network_data_format"]["outputs"]["pred"]
    assert (prediction["num_channels"], len(prediction["channel_def"])) == (2, 3)
    assert list(metadata_faults(metadata)) == []


@pytest.mark.parametrize(
    ("channel_def", "message"),
    [
        ({"0": "background", "1": "liver", "3": "spleen"}, "without gaps"),
        ({"0": "background", "2": "liver"}, "without gaps"),
        ({"1": "liver", "2": "spleen"}, "0 = background"),
        ({"0": "liver", "1": "spleen"}, "0 = background"),
        ({"0": "background", "1": "liver", "2": "liver"}, "share a name"),
        ({"0": "background", "1": "Liver", "2": "liver "}, "share a name"),
        ({"0": "background", "1": "Background"}, "cannot name a structure"),
        ({"0": "background", "1": " "}, "cannot name a structure"),
        ({"0": "background"}, "no foreground label"),
        ({"background": 0, "liver": 1}, "must be an object of label values and names"),
        (["background", "liver"], "must be an object of label values and names"),
    ],
)
def test_labels_that_would_be_lost_or_renamed_are_found(channel_def, message):
    faults = list(label_faults(channel_def))
    assert any(message in fault for fault in faults)
    assert all("configs/metadata.json" in fault for fault in faults)


def test_values_of_two_digits_keep_their_order():
    names = {str(value): f"vertebra {value}" for value in range(1, 13)}
    assert list(label_faults({"0": "background", **names})) == []
