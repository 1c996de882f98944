import pytest
import torch
from contract import check_method
from images import make_backbone, make_batch
from pytorch_metric_learning import losses as oracle

from medssl.methods.vicreg import VICReg
from medssl.ops.spread import spread


def vicreg(spatial_dims, **options):
    return VICReg(make_backbone(spatial_dims), expander_channels=16, **options)


def test_contract():
    check_method(vicreg, make_batch)


def test_loss_is_that_of_the_expanded_mean_of_the_coarsest_level():
    method, batch = vicreg(3, invariance=10.0, variance=20.0, covariance=3.0).eval(), make_batch(3)
    z1, z2 = (method.projector(method.backbone(batch[key])[-1].mean(dim=(2, 3, 4))) for key in ("view_1", "view_2"))
    expected = oracle.VICRegLoss(invariance_lambda=10, variance_mu=20, covariance_v=3)(z1, ref_emb=z2)
    torch.testing.assert_close(method(batch)["loss"], expected)


def test_expander_has_three_layers_of_the_width_of_the_paper():
    widths = [layer.out_features for layer in VICReg(make_backbone(2)).projector if hasattr(layer, "out_features")]
    assert widths == [8192, 8192, 8192]


def test_collapse_distance_is_the_spread_of_the_embeddings():
    method, batch = vicreg(2).eval(), make_batch(2)
    torch.testing.assert_close(method(batch)["collapse_distance"], spread(method.embed(batch["view_1"])))


def test_a_collapsed_network_has_no_distance_left():
    method = vicreg(2)
    torch.nn.init.zeros_(method.projector[-1].weight)
    torch.nn.init.ones_(method.projector[-1].bias)
    assert method(make_batch(2))["collapse_distance"].item() == pytest.approx(0, abs=1e-6)


def test_a_single_pair_is_refused():
    with pytest.raises(ValueError, match="pairs_per_batch"):
        vicreg(2)(make_batch(2, num_pairs=1))
