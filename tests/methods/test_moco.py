import pytest
import torch
from contract import check_method
from images import make_backbone, make_batch
from torch.nn import functional as F

from medssl.losses.queue_contrast import queue_collapse_value
from medssl.methods.moco import MoCo


def moco(spatial_dims, **options):
    return MoCo(make_backbone(spatial_dims), **{"embedding_channels": 8, "queue_size": 12, **options})


def test_contract():
    check_method(moco, make_batch)


def test_loss_is_the_cross_entropy_of_the_teachers_key_among_the_queue():
    method, batch = moco(3, temperature=0.5).eval(), make_batch(3)
    query = F.normalize(method.projector(method.backbone(batch["view_1"])[-1].mean(dim=(2, 3, 4))), dim=1)
    key = F.normalize(method.teacher(batch["view_2"]), dim=1)
    scores = torch.cat([(query * key).sum(dim=1, keepdim=True), query @ method.queue.rows.T], dim=1) / 0.5
    expected = F.cross_entropy(scores, torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(method(batch)["loss"], expected)


def test_collapse_distance_is_measured_from_the_value_of_equal_embeddings():
    losses = moco(2)(make_batch(2))
    torch.testing.assert_close(losses["collapse_distance"], queue_collapse_value(12) - losses["contrastive"])


def test_a_forward_pass_leaves_the_queue_alone():
    method = moco(2)
    before = method.queue.rows.clone()
    method(make_batch(2))
    assert torch.equal(method.queue.rows, before)


def test_the_queue_holds_the_latest_keys():
    method, keys = moco(2).eval(), []
    for _ in range(5):
        batch = make_batch(2)
        keys.append(F.normalize(method.teacher(batch["view_2"]), dim=1))
        method(batch)
        method.after_step(0.0)
    # Five batches of four went through a queue of twelve: the last two took the place of the first two.
    torch.testing.assert_close(method.queue.rows, torch.cat([keys[3], keys[4], keys[2]]))


def test_the_teacher_follows_slowly():
    method = moco(2, momentum=0.9)
    torch.nn.init.normal_(method.projector[0].weight)
    before = method.teacher.network[2][0].weight.clone()
    method(make_batch(2))
    method.after_step(0.7)
    expected = 0.9 * before + 0.1 * method.projector[0].weight.detach()
    torch.testing.assert_close(method.teacher.network[2][0].weight, expected)


def test_numbers_are_those_of_version_2():
    method = MoCo(make_backbone(2))
    assert method.queue.rows.shape == (65536, 128)
    assert (method.momentum, method.contrast.temperature) == (0.999, 0.2)
    assert [type(layer).__name__ for layer in method.projector] == ["Linear", "ReLU", "Linear"]


def test_a_queue_smaller_than_the_batch_is_refused():
    method = moco(2, queue_size=3)
    method(make_batch(2))
    with pytest.raises(ValueError, match="queue_size"):
        method.after_step(0.0)
