from medssl.packaging.metadata import REQUIRED_KEYS, bundle_metadata

RECORD = {
    "method": "kats",
    "setting": "fine_tune",
    "datalist": {"name": "toy", "sha256": "0" * 64, "modality": "MR"},
}
TEMPLATE = {"version": "1.2.3", "description": "d", "authors": "a", "copyright": "c"}


def test_every_key_of_the_schema_is_there():
    metadata = bundle_metadata(TEMPLATE, "toy", RECORD, {1: "liver"}, (1, 2), (1, 1), 3)
    assert set(REQUIRED_KEYS) <= set(metadata)
    assert metadata["version"] == "1.2.3"


def test_sizes_are_multiples_that_every_level_can_halve():
    io = bundle_metadata(TEMPLATE, "toy", RECORD, {1: "liver"}, (1, 2, 4), (1, 1), 2)["network_data_format"]
    assert io["inputs"]["image"]["spatial_shape"] == ["8*n", "8*n"]


def test_logits_and_label_map_are_distinguished():
    io = bundle_metadata(TEMPLATE, "toy", RECORD, {1: "liver", 2: "spleen"}, (1, 2), (1, 2), 3)["network_data_format"]
    logits, label_map = io["outputs"]["pred"], io["post_processed_outputs"]["pred"]
    assert (logits["num_channels"], logits["dtype"]) == (2, "float32")
    assert (label_map["num_channels"], label_map["dtype"], label_map["value_range"]) == (1, "uint8", [0, 2])
    assert logits["channel_def"] == {"0": "background", "1": "liver", "2": "spleen"}


def test_a_backbone_gives_latent_features():
    metadata = bundle_metadata(TEMPLATE, "toy", {**RECORD, "setting": None}, {}, (1, 2), (1, 4), 3)
    assert metadata["network_data_format"]["outputs"]["pred"]["format"] == "latent"
    assert metadata["task"] == "Self-supervised kats backbone for MR"
