import math

import numpy as np
import pytest
import torch

from medssl.probe.next_scan import confidence, farthest, mean_entropy, representative

SCANS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [9.0, 9.0]])


def test_a_label_makes_scans_like_it_the_last_to_be_farthest():
    order = [0]
    while len(order) < len(SCANS):
        order.append(farthest(SCANS, order))
    assert order == [0, 3, 2, 1]


def test_the_first_scan_is_the_most_central_one():
    assert farthest(SCANS, []) == representative(SCANS, []) != 3


def test_the_scale_of_a_component_does_not_matter():
    assert [farthest(SCANS * [1.0, 1e6], labelled) for labelled in ([0], [3])] == [
        farthest(SCANS, labelled) for labelled in ([0], [3])
    ]


def test_a_component_without_variation_is_no_difference():
    assert farthest(np.array([[0.0, 5.0], [1.0, 5.0]]), [0]) == 1


def test_an_odd_scan_is_farthest_and_not_representative():
    scans = np.array([[0.0], [0.2], [5.0], [5.1], [5.2], [5.3], [20.0]])
    assert farthest(scans, [0]) == 6
    assert representative(scans, [0]) in (2, 3, 4, 5)


def test_entropy_and_confidence_of_known_probabilities():
    logits = torch.tensor([[math.log(3.0)], [math.log(1 / 3)]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert mean_entropy(logits) == pytest.approx(entropy, rel=1e-5)
    assert confidence(logits) == pytest.approx(0.75)
    assert confidence(torch.tensor([[-1.0]])) == 0
