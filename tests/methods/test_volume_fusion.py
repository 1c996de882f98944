import pytest
import torch

from medssl.methods.volume_fusion import VolumeFusion
from medssl.networks.fpn import FPN
from medssl.networks.heads import RestorationHead
from medssl.networks.resnet import ResNet
from tests.methods.contract import check_method
from tests.recipes import run_method

LEVELS = 3


class Fixed(torch.nn.Module):
    """Give the same logits for all features."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, features):
        return self.logits


def make_method(spatial_dims):
    return VolumeFusion(FPN(spatial_dims, base_channels=4, num_levels=3), RestorationHead(spatial_dims, 4, LEVELS))


def make_batch(spatial_dims):
    generator, size = torch.Generator().manual_seed(3), (12, 8, 6)[:spatial_dims]
    levels = torch.randint(LEVELS + 1, (2, 1, *size), generator=generator)
    return {"view_1": torch.rand(2, 1, *size, generator=generator), "levels": levels}


def test_the_contract_holds():
    check_method(make_method, make_batch)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_loss_is_cross_entropy_plus_dice_of_the_levels(spatial_dims):
    method, batch = make_method(spatial_dims).eval(), make_batch(spatial_dims)
    logits = method.head(method.backbone(batch["view_1"])[0]).movedim(1, -1).reshape(-1, LEVELS)
    odds = torch.cat([torch.ones(len(logits), 1), logits.exp()], dim=1)
    shares, levels = odds / odds.sum(1, keepdim=True), batch["levels"].flatten()
    entropy = -torch.stack([shares[v, level].log() for v, level in enumerate(levels)]).mean()
    scores = []
    for level in range(1, LEVELS + 1):
        truth = (levels == level).float()
        scores.append(2 * (shares[:, level] * truth).sum() / (shares[:, level].sum() + truth.sum()))
    expected = entropy + 1 - torch.stack(scores).mean()
    torch.testing.assert_close(method(batch)["loss"], expected, rtol=1e-4, atol=1e-4)


def test_accuracy_counts_the_levels_that_are_found():
    method, batch = make_method(2).eval(), make_batch(2)
    wanted = torch.nn.functional.one_hot(batch["levels"][:, 0], LEVELS + 1).movedim(-1, 1)[:, 1:].float()
    method.head = Fixed(wanted - 0.5)
    torch.testing.assert_close(method(batch)["accuracy"], torch.tensor(1.0))
    method.head = Fixed(torch.full_like(wanted, -1.0))
    expected = (batch["levels"] == 0).float().mean()
    torch.testing.assert_close(method(batch)["accuracy"], expected)


def test_a_backbone_without_a_level_of_full_size_is_refused():
    with pytest.raises(ValueError, match="take a backbone such as fpn or unet"):
        VolumeFusion(ResNet(2, depth=10, base_channels=4), RestorationHead(2, 4, LEVELS))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_recipe_trains(spatial_dims, tmp_path):
    sizes = {"base_channels": 4, "num_levels": 3, "pairs_per_batch": 2}
    assert (run_method("volume_fusion", spatial_dims, tmp_path, **sizes) / "backbone.pt").is_file()
