import pytest
import torch
from contract import check_method
from images import COARSEST, make_backbone, make_batch
from pytorch_metric_learning.losses import NTXentLoss

from medssl.losses.info_nce import collapse_value
from medssl.methods.simclr import SimCLR


def simclr(spatial_dims, **options):
    return SimCLR(make_backbone(spatial_dims), hidden_channels=16, embedding_channels=8, **options)


def test_contract():
    check_method(simclr, make_batch)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_is_nt_xent_of_the_projected_mean_of_the_coarsest_level(temperature):
    method, batch = simclr(3, temperature=temperature).eval(), make_batch(3)
    z = [method.projector(method.backbone(batch[key])[-1].mean(dim=(2, 3, 4))) for key in ("view_1", "view_2")]
    expected = NTXentLoss(temperature)(torch.cat(z), torch.arange(4).repeat(2))
    torch.testing.assert_close(method(batch)["loss"], expected)


def test_collapse_distance_is_measured_from_the_value_of_equal_embeddings():
    losses = simclr(2)(make_batch(2, num_pairs=5))
    torch.testing.assert_close(losses["collapse_distance"], collapse_value(5) - losses["contrastive"])


def test_widths_are_those_of_the_paper():
    widths = [layer.out_features for layer in SimCLR(make_backbone(2)).projector if hasattr(layer, "out_features")]
    assert widths == [2048, 128]
    assert SimCLR(make_backbone(2)).projector[0].in_features == COARSEST


def test_a_single_pair_is_refused():
    with pytest.raises(ValueError, match="pairs_per_batch"):
        simclr(2)(make_batch(2, num_pairs=1))
