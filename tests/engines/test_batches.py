import torch

from medssl.engines.batches import prepare_image, prepare_views

BATCH = {"view_1": torch.zeros(2, 1, 4, 4), "voxels_1": torch.zeros(3, 3, dtype=torch.long), "case": ["a", "b"]}


def test_tensors_move_to_the_device_and_the_rest_stays_as_it_is():
    moved, target = prepare_views(BATCH, torch.device("meta"), non_blocking=False)
    assert {key: value.device.type for key, value in moved.items() if key != "case"} == {
        "view_1": "meta",
        "voxels_1": "meta",
    }
    assert moved["case"] == ["a", "b"]
    assert target.device.type == "meta"


def test_the_batch_of_the_loader_is_left_alone():
    prepare_views(BATCH, torch.device("meta"), non_blocking=False)
    assert BATCH["view_1"].device.type == "cpu"


def test_an_image_moves_without_its_label():
    image, label = prepare_image(
        {"image": torch.zeros(1, 1, 4, 4), "label": torch.ones(1, 1, 9, 9)}, torch.device("meta"), non_blocking=False
    )
    assert image.device.type == "meta" and label is None
