import math

import pytest
import torch
from contract import check_method
from images import make_backbone, make_batch
from torch.nn import functional as F

from medssl.losses.queue_contrast import queue_collapse_value
from medssl.methods.densecl import DenseCL
from medssl.networks.resnet import ResNet
from tests.recipes import run_method


def batch_with_affines(spatial_dims: int, num_pairs: int = 4) -> dict[str, torch.Tensor]:
    """Two random views of one place."""
    batch = make_batch(spatial_dims, num_pairs)
    same = torch.eye(spatial_dims, spatial_dims + 1).expand(num_pairs, -1, -1)
    return {**batch, "affine_1": same, "affine_2": same}


def densecl(spatial_dims, **options):
    return DenseCL(make_backbone(spatial_dims), **{"embedding_channels": 8, "queue_size": 12, **options})


def by_location(spatial_dims):
    return densecl(spatial_dims, matching="location")


@pytest.mark.parametrize("make_method", [densecl, by_location])
def test_contract(make_method):
    check_method(make_method, batch_with_affines)


def cross_entropy(query, key, queue, temperature):
    """Of one query vector, written out."""
    query, key = F.normalize(query, dim=0), F.normalize(key, dim=0)
    scores = torch.stack([query @ key, *(query @ row for row in queue)]) / temperature
    return -(scores[0] - scores.exp().sum().log())


def expected_dense(method, batch, partner_of, temperature=0.2):
    """Equation 2 of the paper, cell by cell; `partner_of(b, cell, features, others)` is the matching cell or None."""
    maps = method.backbone(batch["view_1"])[-1], method.teacher.network[0](batch["view_2"])[-1]
    costs = []
    for b, (features, others) in enumerate(zip(*(m.flatten(2).mT for m in maps), strict=True)):
        queries = method.heads.dense_projector(features)
        keys = method.teacher.network[1].dense_projector(others)
        for cell, query in enumerate(queries):
            partner = partner_of(b, cell, features, others)
            if partner is not None:
                costs.append(cross_entropy(query, keys[partner], method.dense_queue.rows, temperature))
    return torch.stack(costs).mean()


def most_alike(b, cell, features, others):
    return max(range(len(others)), key=lambda i: F.cosine_similarity(features[cell], others[i], dim=0).item())


@pytest.mark.parametrize(("spatial_dims", "temperature"), [(2, 0.2), (3, 0.2), (2, 0.5)])
def test_dense_loss_is_the_cross_entropy_of_the_most_alike_cells(spatial_dims, temperature):
    method, batch = densecl(spatial_dims, temperature=temperature).eval(), make_batch(spatial_dims)
    expected = expected_dense(method, batch, most_alike, temperature)
    torch.testing.assert_close(method(batch)["dense"], expected.detach())


def test_cells_match_by_location_and_those_outside_the_other_view_take_no_part():
    method, batch = densecl(2, matching="location").eval(), make_batch(2)
    # View 2 is the image mirrored along the first axis, cell on cell, and moved by a cell along the second.
    batch["affine_1"] = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(4, 2, 3)
    batch["affine_2"] = torch.tensor([[-1.0, 0, 32], [0, 1, 32]]).expand(4, 2, 3)

    def partner_of(b, cell, features, others):
        row, column = divmod(cell, 2)
        return (1 - row) * 2 if column == 1 else None

    losses = method(batch)
    assert losses["matched"] == 0.5
    torch.testing.assert_close(losses["dense"], expected_dense(method, batch, partner_of).detach())


def test_views_that_do_not_meet_have_no_dense_loss_and_still_train():
    method, batch = densecl(2, matching="location"), batch_with_affines(2)
    batch["affine_2"] = batch["affine_2"] + torch.tensor([0.0, 0.0, 1000.0])
    losses = method(batch)
    losses["loss"].backward()
    assert losses["matched"] == 0 and losses["dense"] == 0 and losses["global"] > 0
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


def test_loss_weighs_global_and_dense_contrast():
    losses = densecl(2, dense_weight=0.3)(make_batch(2))
    torch.testing.assert_close(losses["loss"].detach(), 0.7 * losses["global"] + 0.3 * losses["dense"])
    torch.testing.assert_close(losses["collapse_distance"], queue_collapse_value(12) - losses["contrastive"])


def test_equal_embeddings_are_at_no_distance_from_collapse():
    method = densecl(2)
    for queue in (method.queue, method.dense_queue):
        queue.rows[:] = torch.ones(8) / math.sqrt(8)
    for heads in (method.heads, method.teacher.network[1]):
        for head in (heads.projector, heads.dense_projector):
            torch.nn.init.zeros_(head[-1].weight)
            torch.nn.init.ones_(head[-1].bias)
    assert method(make_batch(2))["collapse_distance"].abs() < 1e-4


def test_the_queues_hold_the_latest_image_keys_and_mean_cell_keys():
    method, batch = densecl(3).eval(), make_batch(3)
    method(batch)
    key = method.teacher(batch["view_2"])
    method.after_step(0.0)
    torch.testing.assert_close(method.queue.rows[:4], F.normalize(key.image, dim=1))
    torch.testing.assert_close(method.dense_queue.rows[:4], F.normalize(key.cells.mean(dim=1), dim=1))


def test_a_forward_pass_changes_no_queue_and_no_teacher():
    method, batch = densecl(2), make_batch(2)
    state = {k: v.clone() for k, v in method.state_dict().items() if "queue" in k or "teacher.network.1" in k}
    method(batch)
    assert all(torch.equal(method.state_dict()[k], v) for k, v in state.items())


def test_the_teacher_follows_slowly():
    method = densecl(2, momentum=0.9)
    torch.nn.init.normal_(method.heads.dense_projector[0].weight)
    before = method.teacher.network[1].dense_projector[0].weight.clone()
    method(make_batch(2))
    method.after_step(0.5)
    expected = 0.9 * before + 0.1 * method.heads.dense_projector[0].weight.detach()
    torch.testing.assert_close(method.teacher.network[1].dense_projector[0].weight, expected)


def test_numbers_are_those_of_the_paper():
    method = DenseCL(make_backbone(2))
    assert method.queue.rows.shape == method.dense_queue.rows.shape == (65536, 128)
    assert (method.momentum, method.contrast.temperature, method.dense_weight) == (0.999, 0.2, 0.5)


def test_an_unknown_matching_is_refused():
    with pytest.raises(ValueError, match="feature or location, got 'place'"):
        densecl(2, matching="place")


def test_a_queue_smaller_than_the_batch_is_refused():
    method = densecl(2, queue_size=3)
    method(make_batch(2))
    with pytest.raises(ValueError, match="queue_size"):
        method.after_step(0.0)


def test_a_view_smaller_than_a_cell_is_refused():
    with pytest.raises(ValueError, match=r"31 x 20 voxels is smaller than a cell .* of 32 voxels"):
        densecl(2)(make_batch(2) | {"view_2": torch.rand(4, 1, 31, 20)})


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("matching", ["feature", "location"])
def test_the_recipe_runs(spatial_dims, matching, tmp_path):
    tiny = {
        "base_channels": 4,
        "pairs_per_batch": 4,
        "backbone_def::depth": 10,
        "patch_size": [64, 32, 32][:spatial_dims],
    }
    tiny |= {"embedding_channels": 8, "queue_size": 16, "matching": matching}
    run = run_method("densecl", spatial_dims, tmp_path, **tiny)
    weights = torch.load(run / "backbone.pt", weights_only=True)
    assert all(value.isfinite().all() for value in weights.values())
    ResNet(spatial_dims, depth=10, base_channels=4).load_state_dict(weights)
