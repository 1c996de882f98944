import pytest
import torch

from medssl.packaging.weights import load_strictly


def test_a_missing_weight_is_named():
    with pytest.raises(ValueError, match=r"model\.pt does not fit the network.*Missing key.*bias"):
        load_strictly(torch.nn.Linear(2, 2), {"weight": torch.zeros(2, 2)}, "model.pt")
