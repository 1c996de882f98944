import pytest
import torch
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss

from medssl.methods.wcl import WCL
from medssl.networks.unet import UNetEncoder
from tests.methods.contract import check_method
from tests.recipes import run_method


def make_method(spatial_dims, **settings):
    return WCL(UNetEncoder(spatial_dims, base_channels=4, num_levels=3), 16, 8, **settings)


def make_batch(spatial_dims, num_images=5):
    generator = torch.Generator().manual_seed(3)
    shape = (num_images, 1, *(8,) * spatial_dims)
    return {f"view_{k}": torch.rand(shape, generator=generator) for k in (1, 2)}


def embeddings(method, batch, head):
    return [head(method.backbone(batch[f"view_{k}"])[2].mean((2, 3))) for k in (1, 2)]


def components(z):
    """Label rows by following nearest neighbours, one join at a time."""
    units = torch.nn.functional.normalize(z, dim=1)
    nearest = (units @ units.T).fill_diagonal_(-2).argmax(1)
    labels = torch.arange(len(z))
    for i, j in enumerate(nearest):
        labels[labels == labels[i]] = labels[j].item()
    return labels


def test_the_contract_holds():
    check_method(make_method, make_batch)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_first_head_is_contrasted_as_in_simclr(temperature):
    method, batch = make_method(2, temperature=temperature), make_batch(2)
    z = torch.cat(embeddings(method, batch, method.projector))
    expected = NTXentLoss(temperature)(z, torch.arange(5).repeat(2))
    torch.testing.assert_close(method(batch)["contrastive"], expected.detach())


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_second_head_learns_the_weak_labels_of_the_other_view(temperature):
    torch.manual_seed(3)
    method, batch = make_method(2, temperature=temperature), make_batch(2, num_images=12)
    z1, z2 = embeddings(method, batch, method.graph_projector)
    # Of a single component the reference gives 0, as it knows no contrast without negatives.
    assert all(1 < len(components(z).unique()) < 12 for z in (z1, z2))
    supcon = SupConLoss(temperature=temperature)
    expected = (supcon(z1, components(z2)) + supcon(z2, components(z1))) / 2
    torch.testing.assert_close(method(batch)["graph"], expected.detach())


def test_the_graph_loss_has_its_weight():
    losses = make_method(2, graph_weight=3.0)(make_batch(2))
    torch.testing.assert_close(losses["loss"].detach(), losses["contrastive"] + 3 * losses["graph"])


def test_a_single_image_names_the_setting():
    with pytest.raises(ValueError, match="set pairs_per_batch to 2 or more"):
        make_method(2)(make_batch(2, num_images=1))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_recipe_trains(spatial_dims, tmp_path):
    sizes = {"base_channels": 4, "num_levels": 3, "pairs_per_batch": 4, "hidden_channels": 16}
    assert (run_method("wcl", spatial_dims, tmp_path, **sizes) / "backbone.pt").is_file()
