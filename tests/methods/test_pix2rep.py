import pytest
import torch
from contract import check_method
from monai.bundle import ConfigParser
from torch import nn
from torch.nn import functional as F

from medssl.losses.barlow_twins import BarlowTwinsLoss
from medssl.losses.info_nce import InfoNCELoss, collapse_value
from medssl.methods.pix2rep import Pix2Rep
from medssl.networks.fpn import FPN
from medssl.networks.resnet import ResNet
from medssl.networks.unet import UNet
from medssl.packaging.sources import source_bundles
from tests.recipes import run_method

TINY = {"base_channels": 4, "num_levels": 3, "pairs_per_batch": 2, "num_voxels": 16}


def make_batch(spatial_dims, num_voxels=20):
    size = (12, 8, 6)[:spatial_dims]
    batch = {name: torch.rand(2, 1, *size) for name in ("view_1", "view_2")}
    voxels = torch.stack([torch.randint(0, n, (num_voxels,)) for n in (2, *size)], dim=1)
    last = torch.tensor([1, *[n - 1 for n in size]])
    batch["voxels_2"] = voxels
    batch["voxels_exact_1"] = (voxels + F.pad(torch.rand(num_voxels, spatial_dims), (1, 0))).minimum(last)
    return batch


def pix2rep(spatial_dims, **options):
    return Pix2Rep(UNet(spatial_dims, 1, 4, 3), hidden_channels=8, out_channels=8, **options)


def pix2rep_v2(spatial_dims):
    return pix2rep(spatial_dims, loss=BarlowTwinsLoss())


def on_fpn(spatial_dims):
    return Pix2Rep(FPN(spatial_dims, 1, 4, 3), hidden_channels=8, out_channels=8)


def finest_level(spatial_dims):
    return pix2rep(spatial_dims, levels=1)


@pytest.mark.parametrize("make_method", [pix2rep, pix2rep_v2, on_fpn, finest_level])
def test_contract(make_method):
    check_method(make_method, make_batch)


def dense_embeddings(method, batch):
    """Both sets of embeddings, from maps at full resolution, that of view 1 warped with grid_sample."""
    maps = []
    for view in (batch["view_1"], batch["view_2"]):
        pyramid = method.backbone(view)[: method.levels]
        wide = [F.interpolate(level, scale_factor=2**i, mode="nearest") for i, level in enumerate(pyramid)]
        maps.append(torch.cat([level[(..., *[slice(n) for n in view.shape[2:]])] for level in wide], dim=1))
    last = torch.tensor(batch["view_1"].shape[2:]) - 1.0
    grid = (2 * batch["voxels_exact_1"][:, 1:] / last - 1).flip(-1)
    warped, direct = [], []
    for row, place in zip(batch["voxels_2"], grid, strict=True):
        sample, voxel = row[0], tuple(row[1:])
        place = place.reshape(1, *[1] * (maps[0].dim() - 2), -1)
        warped.append(F.grid_sample(maps[0][sample][None], place, align_corners=True).flatten())
        direct.append(maps[1][sample][(slice(None), *voxel)])
    return method.projector(torch.stack(warped)), method.projector(torch.stack(direct))


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("make_method", [pix2rep, finest_level])
def test_contrast_is_that_of_a_dense_map_and_its_warp(make_method, spatial_dims):
    method, batch = make_method(spatial_dims).eval(), make_batch(spatial_dims)
    expected = InfoNCELoss(0.53)(*dense_embeddings(method, batch))
    torch.testing.assert_close(method(batch)["loss"], expected, rtol=1e-4, atol=1e-5)


def test_v2_is_barlow_twins_of_the_same_embeddings():
    method, batch = pix2rep_v2(2).eval(), make_batch(2)
    losses = method(batch)
    expected = BarlowTwinsLoss(5e-3)(*dense_embeddings(method, batch))
    torch.testing.assert_close(losses["loss"], expected, rtol=1e-3, atol=1e-4)
    assert set(losses) == {"loss", "invariance", "redundancy"}


def test_views_that_are_warped_alike_are_told_from_those_that_are_not():
    method, batch = pix2rep(2).eval(), make_batch(2)
    batch["view_2"] = batch["view_1"]
    wrong = {**batch, "voxels_exact_1": batch["voxels_exact_1"].roll(5, 0)}
    assert method(batch)["loss"] < method(wrong)["loss"]


def test_collapse_distance_is_measured_from_the_value_of_equal_embeddings():
    losses = pix2rep(2)(make_batch(2, num_voxels=20))
    torch.testing.assert_close(losses["collapse_distance"], collapse_value(20) - losses["contrastive"])


def test_a_backbone_of_other_strides_is_read_at_them():
    method = Pix2Rep(ResNet(2, 1, 18, base_channels=4), hidden_channels=8, out_channels=8)
    view = torch.rand(2, 1, 64, 64)
    voxels = torch.tensor([[0, 63, 63], [1, 0, 5], [1, 40, 33]])
    batch = {"view_1": view, "view_2": view, "voxels_exact_1": voxels.float(), "voxels_2": voxels}
    assert torch.isfinite(method(batch)["loss"])


def test_a_single_voxel_is_refused():
    with pytest.raises(ValueError, match="pairs_per_batch or num_voxels"):
        pix2rep(2)(make_batch(2, num_voxels=1))


def test_more_levels_than_the_backbone_has_are_refused():
    with pytest.raises(ValueError, match="from 1 to the 3 of the backbone, got 4"):
        pix2rep(2, levels=4)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", ["pix2rep", "pix2rep_v2"])
def test_recipe_trains(name, spatial_dims, tmp_path):
    folder = run_method(name, spatial_dims, tmp_path, **TINY)
    weights = torch.load(folder / "backbone.pt", weights_only=True)
    assert weights.keys() == UNet(spatial_dims, 1, 4, 3).state_dict().keys()
    assert all(torch.isfinite(value.float()).all() for value in weights.values())


def recipe(name):
    path = source_bundles() / "pretrain/configs"
    return ConfigParser(ConfigParser.load_config_files([str(path / "train.yaml"), str(path / f"methods/{name}.yaml")]))


@pytest.mark.parametrize(("name", "num_voxels"), [("pix2rep", 1000), ("pix2rep_v2", 8000)])
def test_recipe_has_the_numbers_of_the_paper(name, num_voxels):
    parser = recipe(name)
    assert parser["max_gradient_norm"] >= 1e6
    assert parser["num_voxels"] * parser["pairs_per_batch"] == num_voxels
    assert parser["learning_rate"] == 4.7e-4
    method = parser.get_parsed_content("method_def")
    assert [layer.out_features for layer in method.projector if isinstance(layer, nn.Linear)] == [256, 256]
    if name == "pix2rep":
        assert parser["max_epochs"] == 200
        assert method.loss.temperature == 0.53
    else:
        assert method.loss.redundancy == 5e-3


def test_v2_warms_up_for_a_twentieth_of_the_run_and_decays_to_1e_8():
    parser = recipe("pix2rep_v2")
    parser.update({"max_epochs": 10, "steps_per_epoch": 100, "method": nn.Linear(1, 1)})
    (schedule,) = parser.get_parsed_content("train::schedule_handlers")
    rates = [schedule.learning_rate(step, total_steps=1000) for step in range(1, 1002)]
    assert rates.index(max(rates)) == 49
    assert max(rates) == 4.7e-4
    assert rates[-1] == pytest.approx(1e-8)


def test_recipe_trains_on_features_of_the_fpn(tmp_path):
    run_method("pix2rep", 3, tmp_path, layers=["fpn"], **TINY)
    weights = torch.load(tmp_path / "run" / "backbone.pt", weights_only=True)
    assert weights.keys() == FPN(3, 1, 4, 3).state_dict().keys()
