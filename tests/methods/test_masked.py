import pytest
import torch

from medssl.methods.masked import MaskedRestoration
from medssl.networks.fpn import FPN
from medssl.networks.heads import RestorationHead
from medssl.networks.resnet import ResNet
from tests.methods.contract import check_method
from tests.recipes import run_method


def make_method(spatial_dims):
    return MaskedRestoration(FPN(spatial_dims, base_channels=4, num_levels=3), RestorationHead(spatial_dims, 4))


def make_batch(spatial_dims):
    generator, size = torch.Generator().manual_seed(3), (12, 8, 6)[:spatial_dims]
    names = ("view_1", "view_2", "clean_1", "clean_2")
    masks = {f"masked_{k}": torch.rand(2, 1, *size, generator=generator) < 0.2 + 0.3 * k for k in (1, 2)}
    return {name: torch.rand(2, 1, *size, generator=generator) for name in names} | masks


def test_the_contract_holds():
    check_method(make_method, make_batch)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_loss_is_the_squared_error_of_the_hidden_voxels_image_by_image(spatial_dims):
    method, batch = make_method(spatial_dims).eval(), make_batch(spatial_dims)
    errors = []
    for k in (1, 2):
        restored = method.restore(method.backbone(batch[f"view_{k}"]))
        for image, clean, mask in zip(restored, batch[f"clean_{k}"], batch[f"masked_{k}"], strict=True):
            hidden = mask.flatten().nonzero()[:, 0].tolist()
            squares = [(image.flatten()[v] - clean.flatten()[v]) ** 2 for v in hidden]
            errors.append(sum(squares) / len(squares))
    torch.testing.assert_close(method(batch)["loss"], sum(errors) / 4)


def test_visible_voxels_do_not_count():
    method, batch = make_method(2).eval(), make_batch(2)
    before = method(batch)["loss"]
    batch["clean_1"] = torch.where(batch["masked_1"], batch["clean_1"], 7.0)
    torch.testing.assert_close(method(batch)["loss"], before)


def test_the_mean_of_what_is_hidden_explains_nothing_and_the_image_itself_all():
    method, batch = make_method(2).eval(), make_batch(2)
    for k in (1, 2):
        batch[f"clean_{k}"] = (torch.arange(96.0).reshape(1, 1, 12, 8) % 2).expand(2, 1, 12, 8)
        batch[f"masked_{k}"] = torch.ones(2, 1, 12, 8, dtype=torch.bool)
    method.restore = lambda pyramid: torch.full((2, 1, 12, 8), 0.5)
    torch.testing.assert_close(method(batch)["explained"], torch.tensor(0.0))
    method.restore = lambda pyramid: batch["clean_1"]
    torch.testing.assert_close(method(batch)["explained"], torch.tensor(1.0))


def test_a_backbone_without_a_level_of_full_size_is_refused():
    with pytest.raises(ValueError, match="take a backbone such as fpn or unet"):
        MaskedRestoration(ResNet(2, depth=10, base_channels=4), RestorationHead(2, 4))


SIZES = {"base_channels": 4, "num_levels": 3, "pairs_per_batch": 2}


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_recipe_trains(spatial_dims, tmp_path):
    assert (run_method("masked", spatial_dims, tmp_path, **SIZES) / "backbone.pt").is_file()


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_kats_with_a_masked_view_trains(spatial_dims, tmp_path):
    assert (run_method("kats", spatial_dims, tmp_path, ["masked_view"], **SIZES) / "backbone.pt").is_file()
