import pytest
import torch

from medssl.losses.barlow_twins import BarlowTwinsLoss
from medssl.losses.named import WeightedTerms, contrastive_losses, losses_of_terms
from medssl.losses.vicreg import VICRegLoss


@pytest.mark.parametrize("loss", [VICRegLoss(2.0, 3.0, 5.0), BarlowTwinsLoss(0.1)], ids=["vicreg", "barlow_twins"])
def test_the_terms_of_a_loss_are_named_beside_it_without_gradients(loss):
    z1, z2 = torch.rand(2, 8, 4).unbind()
    named = losses_of_terms(loss, z1.requires_grad_(), z2)
    assert isinstance(loss, WeightedTerms)
    assert torch.equal(named["loss"], loss(z1, z2))
    assert [name for name, value in named.items() if value.requires_grad] == ["loss"]
    assert {name: value for name, value in named.items() if name != "loss"} == loss.terms(z1, z2)


def test_a_contrastive_loss_is_minimised_and_logged_with_its_distance_from_collapse():
    loss = torch.tensor(1.5, requires_grad=True)
    named = contrastive_losses(2 * loss, collapse_value=4.0)
    assert {name: value.item() for name, value in named.items()} == {
        "loss": 3.0,
        "contrastive": 3.0,
        "collapse_distance": 1.0,
    }
    assert [name for name, value in named.items() if value.requires_grad] == ["loss"]
