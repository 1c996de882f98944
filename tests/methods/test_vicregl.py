import pytest
import torch
from contract import check_method
from images import make_backbone

from medssl.losses.vicreg import VICRegLoss
from medssl.methods.vicregl import VICRegL
from medssl.networks.resnet import ResNet
from tests.recipes import run_method


def make_batch(spatial_dims: int, num_images: int = 4) -> dict[str, torch.Tensor]:
    """Two global views of 3 x 2 (x 1) cells and a local one of 2 x 1 (x 1), in their places."""
    size = (96, 64, 32)[:spatial_dims]
    batch = {key: torch.rand(num_images, 1, *size) for key in ("view_1", "view_2")}
    batch["view_3"] = torch.rand(num_images, 1, *[64, 32, 32][:spatial_dims])
    # No two cells are at one distance.
    steps = [(1.0, 1.0, 1.0), (-0.9, 1.1, 0.95), (0.5, 0.6, 0.7)]
    offsets = [(0.0, 0.0, 0.0), (90.0, 3.0, 1.0), (8.0, 5.0, 2.0)]
    for number, (step, offset) in enumerate(zip(steps, offsets, strict=True), start=1):
        linear = torch.diag(torch.tensor(step[:spatial_dims]))
        affine = torch.cat([linear, torch.tensor(offset[:spatial_dims])[:, None]], dim=1)
        batch[f"affine_{number}"] = affine.expand(num_images, -1, -1)
    return batch


def vicregl(spatial_dims, **options):
    return VICRegL(make_backbone(spatial_dims), **{"expander_channels": 8, "map_channels": 6, **options})


def test_contract():
    check_method(vicregl, make_batch)


def view_of(method, batch, number):
    """Mean embedding, cell embeddings and cell places of a view, and half the diagonal of its cells, with loops."""
    level = method.backbone(batch[f"view_{number}"])[-1]
    places = []
    for cell in torch.cartesian_prod(*(torch.arange(n) for n in level.shape[2:])):
        affine = batch[f"affine_{number}"][0]
        centre = (cell * 32).to(affine)
        places.append(affine[:, :-1] @ centre + affine[:, -1])
    cells = torch.stack([method.map_projector(features.T) for features in level.flatten(2)])
    half = 16 * batch[f"affine_{number}"][0, :, :-1].square().sum().sqrt()
    return method.projector(level.flatten(2).mean(2)), cells, torch.stack(places), half


def local_loss(a, b, count, by_location):
    """The loss of the best `count` cells of view a and their matches in view b, image by image."""
    rows, partners = [], []
    for image in range(len(a[1])):
        found = []
        for i in range(len(a[1][image])):
            gaps = (b[2] - a[2][i]).norm(dim=1) if by_location else (b[1][image] - a[1][image][i]).norm(dim=1)
            j = int(gaps.argmin())
            found.append((gaps[j].item(), i, j))
        for gap, i, j in sorted(found)[:count]:
            if not by_location or gap <= b[3]:
                rows.append(a[1][image][i])
                partners.append(b[1][image][j])
    return VICRegLoss()(torch.stack(rows), torch.stack(partners))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_terms_are_those_of_the_paper_over_all_pairs_with_a_global_view(spatial_dims):
    method, batch = vicregl(spatial_dims, global_matches=3, local_matches=1).double().eval(), make_batch(spatial_dims)
    batch = {key: value.double() for key, value in batch.items()}
    views = [view_of(method, batch, i) for i in (1, 2, 3)]
    pairs = [(0, 1), (0, 2), (1, 2)]
    directed = pairs + [(j, i) for i, j in pairs]
    expected = {"global": torch.stack([VICRegLoss()(views[i][0], views[j][0]) for i, j in pairs]).mean()}
    for name in ("location", "feature"):
        losses = [local_loss(views[i], views[j], 1 if i == 2 else 3, name == "location") for i, j in directed]
        expected[name] = torch.stack(losses).mean()
    losses = method(batch)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value.detach().float())


def test_loss_weighs_global_and_local_terms():
    losses = vicregl(2, alpha=0.75)(make_batch(2))
    expected = 0.75 * losses["global"] + 0.25 * (losses["location"] + losses["feature"])
    torch.testing.assert_close(losses["loss"].detach(), expected)


def test_views_that_do_not_meet_have_no_loss_by_location_and_still_train():
    method, batch = vicregl(2), make_batch(2)
    for number in (2, 3):
        batch[f"affine_{number}"] = batch[f"affine_{number}"] + torch.tensor([0.0, 0.0, 1e4 * number])
    losses = method(batch)
    losses["loss"].backward()
    assert losses["location"] == 0 and losses["matched"] == 0 and losses["feature"] > 0
    assert all(p.grad is not None for p in method.parameters())


def test_matched_is_the_share_of_the_compared_cells_that_lie_in_the_other_view():
    batch = {key: value for key, value in make_batch(2).items() if not key.endswith("3")}
    batch["affine_2"] = batch["affine_1"] + torch.tensor([[0.0, 0, 64], [0, 0, 0]])
    assert vicregl(2, global_matches=6)(batch)["matched"] == pytest.approx(1 / 3)


def test_numbers_are_those_of_the_paper():
    method = VICRegL(make_backbone(2))
    assert (method.alpha, method.global_matches, method.local_matches) == (0.75, 20, 4)
    assert method.projector[-1].out_features == 8192 and method.map_projector[-1].out_features == 512


def test_a_batch_of_one_image_names_the_setting():
    with pytest.raises(ValueError, match="pairs_per_batch"):
        vicregl(2)(make_batch(2, num_images=1))


def test_a_view_smaller_than_a_cell_is_refused():
    with pytest.raises(ValueError, match=r"31 x 20 voxels is smaller than a cell .* of 32 voxels"):
        vicregl(2)(make_batch(2) | {"view_3": torch.rand(4, 1, 31, 20)})


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_recipe_runs(spatial_dims, tmp_path):
    tiny = {
        "base_channels": 4,
        "pairs_per_batch": 4,
        "backbone_def::depth": 10,
        "patch_size": [64, 32, 32][:spatial_dims],
    }
    tiny |= {"expander_channels": 16, "map_channels": 8}
    run = run_method("vicregl", spatial_dims, tmp_path, **tiny)
    weights = torch.load(run / "backbone.pt", weights_only=True)
    assert all(value.isfinite().all() for value in weights.values())
    ResNet(spatial_dims, depth=10, base_channels=4).load_state_dict(weights)
