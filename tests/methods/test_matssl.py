import pytest
import torch
from contract import check_method
from images import make_backbone, make_batch
from pytorch_metric_learning.losses import NTXentLoss
from torch import nn

from medssl.methods.matssl import MatSSL


def matssl(spatial_dims, **options):
    return MatSSL(make_backbone(spatial_dims), hidden_channels=16, embedding_channels=8, **options)


def reference(spatial_dims, **options):
    return matssl(spatial_dims, reference=True, **options)


@pytest.mark.parametrize("make_method", [matssl, reference], ids=["paper", "code"])
def test_contract(make_method):
    check_method(make_method, make_batch)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("make_method", [matssl, reference], ids=["paper", "code"])
def test_loss_is_nt_xent_of_the_gated_stages(make_method, temperature):
    method, batch = make_method(3, temperature=temperature).eval(), make_batch(3)
    embeddings = []
    for view in (batch["view_1"], batch["view_2"]):
        fused = []
        for level, p in zip(method.backbone(view)[1:], method.fusion.gates, strict=True):
            f = level.mean(dim=(2, 3, 4))
            fused.append(p.sigmoid() * f if make_method is reference else f.sigmoid() * p)
        embeddings.append(method.projector(torch.cat(fused, dim=1)))
    expected = NTXentLoss(temperature)(torch.cat(embeddings), torch.arange(4).repeat(2))
    torch.testing.assert_close(method(batch)["loss"], expected)


def test_four_stages_are_fused_and_the_stem_is_not():
    method = matssl(2)
    assert [len(gate) for gate in method.fusion.gates] == list(method.backbone.level_channels[1:])


def test_the_number_of_stages_is_a_choice():
    method = matssl(2, num_stages=2)
    assert [len(gate) for gate in method.fusion.gates] == list(method.backbone.level_channels[-2:])
    assert torch.isfinite(method(make_batch(2))["loss"])


def test_a_batch_norm_behind_the_projector_is_the_authors_code_alone():
    assert isinstance(matssl(2).projector[-1], nn.Linear)
    z = reference(2).embed(make_batch(2, num_pairs=8)["view_1"])
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)


def test_gates_are_not_transferred():
    assert not any("gate" in name for name in matssl(2).backbone.state_dict())


def test_a_single_pair_is_refused():
    with pytest.raises(ValueError, match="pairs_per_batch"):
        matssl(2)(make_batch(2, num_pairs=1))
