import pytest
import torch
from contract import check_method

from medssl.losses.info_nce import InfoNCELoss, collapse_value
from medssl.methods.hierarchical import Hierarchical
from medssl.networks.fpn import FPN, BalancedPyramid
from medssl.networks.heads import Projector, RestorationHead
from medssl.ops.pyramid import gather_voxels


def make_batch(spatial_dims, num_voxels=20):
    size = (12, 8, 6)[:spatial_dims]
    batch = {name: torch.rand(2, 1, *size) for name in ("view_1", "view_2", "clean_1", "clean_2")}
    for name in ("voxels_1", "voxels_2"):
        batch[name] = torch.stack([torch.randint(0, n, (num_voxels,)) for n in (2, *size)], dim=1)
    return batch


def kats(spatial_dims, **options):
    network = BalancedPyramid(FPN(spatial_dims, base_channels=4, num_levels=3), level_channels=5)
    return Hierarchical(network, Projector((5, 5, 5), 8), RestorationHead(spatial_dims, 4), **options)


def vox2vec(spatial_dims):
    return Hierarchical(FPN(spatial_dims, base_channels=4, num_levels=3), Projector((4, 8, 16), 8))


def restoration(spatial_dims):
    network = FPN(spatial_dims, base_channels=4, num_levels=3)
    return Hierarchical(network, restoration_head=RestorationHead(spatial_dims, 4))


@pytest.mark.parametrize("make_method", [kats, vox2vec], ids=["kats", "vox2vec"])
def test_contract(make_method):
    check_method(make_method, make_batch)


def test_restoration_alone_trains_all_that_the_finest_level_needs():
    method = restoration(2)
    method(make_batch(2))["loss"].backward()
    assert all(p.grad is not None for p in method.parameters())


def test_loss_is_contrast_plus_weighted_restoration():
    method, batch = kats(3, restoration_weight=10.0), make_batch(3)
    losses = method(batch)
    torch.testing.assert_close(losses["loss"].detach(), losses["contrastive"] + 10 * losses["restoration"])


def test_contrast_of_vox2vec_is_info_nce_of_the_projected_voxel_embeddings():
    method, batch = vox2vec(3).eval(), make_batch(3)
    z = [method.projector(gather_voxels(method.backbone(batch[f"view_{i}"]), batch[f"voxels_{i}"])) for i in (1, 2)]
    torch.testing.assert_close(method(batch)["contrastive"], InfoNCELoss(0.1)(*z).detach())


def test_contrast_of_kats_reads_the_balanced_pyramid():
    method, batch = kats(3).eval(), make_batch(3)
    z = []
    for i in (1, 2):
        balanced = method.projections(method.backbone(batch[f"view_{i}"]))
        z.append(method.projector(gather_voxels(balanced, batch[f"voxels_{i}"])))
    torch.testing.assert_close(method(batch)["contrastive"], InfoNCELoss(0.1)(*z).detach())


def test_restoration_is_the_mean_error_of_both_patches_against_the_clean_ones():
    method, batch = kats(2).eval(), make_batch(2)
    errors = [
        (method.restore(method.backbone(batch[f"view_{i}"])) - batch[f"clean_{i}"]).square().mean() for i in (1, 2)
    ]
    torch.testing.assert_close(method(batch)["restoration"], (sum(errors) / 2).detach())


def test_collapse_distance_is_measured_from_the_value_of_equal_embeddings():
    losses = kats(2)(make_batch(2, num_voxels=20))
    torch.testing.assert_close(losses["collapse_distance"], collapse_value(20) - losses["contrastive"])


def test_what_is_transferred_is_the_pyramid_without_its_projections():
    assert isinstance(kats(2).backbone, FPN)


def test_a_method_without_any_head_is_refused():
    with pytest.raises(ValueError, match="projector, a restoration head"):
        Hierarchical(FPN(2))
