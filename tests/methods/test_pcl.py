import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss

from medssl.methods.pcl import PCL
from medssl.networks.unet import UNetEncoder
from tests.methods.contract import check_method
from tests.recipes import run_method


def make_method(spatial_dims, **settings):
    return PCL(UNetEncoder(spatial_dims, base_channels=4, num_levels=3), 16, 8, **settings)


def make_batch(spatial_dims, num_images=4):
    generator = torch.Generator().manual_seed(3)
    shape = (num_images, 1, *(8,) * spatial_dims)
    views = {f"view_{k}": torch.rand(shape, generator=generator) for k in (1, 2)}
    return {**views, "position": torch.linspace(0, 1, num_images)[:, None]}


def test_the_contract_holds():
    check_method(make_method, make_batch)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize(("threshold", "labels"), [(0.1, [0, 1, 0, 2]), (0.35, [0, 1, 0, 0])])
def test_images_nearer_than_the_threshold_are_positives(threshold, labels, temperature):
    method, batch = make_method(2, threshold=threshold, temperature=temperature), make_batch(2)
    batch["position"] = torch.tensor([[0.10], [0.90], [0.15], [0.30]])
    z = [method.projector(method.backbone(batch[f"view_{k}"])[2].mean((2, 3))) for k in (1, 2)]
    expected = SupConLoss(temperature=temperature)(torch.cat(z), torch.tensor(labels).repeat(2))
    torch.testing.assert_close(method(batch)["contrastive"], expected.detach())


def test_collapsed_embeddings_have_no_distance_to_the_collapse_value():
    method = make_method(2)
    for parameter in method.projector[-1].parameters():
        torch.nn.init.constant_(parameter, 0.5)
    losses = method(make_batch(2))
    torch.testing.assert_close(losses["collapse_distance"], torch.tensor(0.0), atol=1e-5, rtol=0)


def test_a_single_image_names_the_setting():
    with pytest.raises(ValueError, match="set pairs_per_batch to 2 or more"):
        make_method(2)(make_batch(2, num_images=1))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_recipe_trains(spatial_dims, tmp_path):
    sizes = {"base_channels": 4, "num_levels": 3, "pairs_per_batch": 4}
    assert (run_method("pcl", spatial_dims, tmp_path, **sizes) / "backbone.pt").is_file()
