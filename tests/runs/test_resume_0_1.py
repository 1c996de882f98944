"""A run that version 0.1 began goes on, with the weights that 0.1 itself would have reached."""

from functools import partial

import torch

from medssl.networks.fpn import FPN
from medssl.workflows.training import pretrain
from tests.former_version import unpack, write_scans

# Those of tests/fixtures/version_0_1/make.py.
SETTINGS = {
    **{"spacing": [6.0, 6.0, 9.0], "patch_size": [16, 16, 8], "shuffle_blocks": 20, "num_workers": 0},
    **{"base_channels": 2, "level_channels": 2, "num_levels": 2, "pairs_per_batch": 2, "num_voxels": 16},
    **{"max_epochs": 1, "steps_per_epoch": 4, "checkpoint_every": 2, "panel_every": 4},
}


def test_a_stopped_pretraining_goes_on(tmp_path):
    runs = unpack(tmp_path / "runs")
    datalist = write_scans(tmp_path / "scans")
    weights = pretrain("kats", datalist, ["ct"], runs / "stopped", overrides=SETTINGS, resume=True)
    resumed = torch.load(weights, weights_only=True)
    reached = torch.load(runs / "pretrained/backbone.pt", weights_only=True)
    # Another processor adds up in another order.
    close = partial(torch.testing.assert_close, rtol=1e-3, atol=1e-4)
    close(*(without_biases_before_norms(weights) for weights in (resumed, reached)))
    for ours, theirs in zip(features(resumed), features(reached), strict=True):
        close(ours, theirs, atol=1e-3 * theirs.abs().max().item())


def without_biases_before_norms(weights):
    """Leave out biases whose gradient is rounding, of which Adam makes whole steps; `features` sees what they do."""
    biases = {name.removesuffix("weight") + "bias" for name, value in weights.items() if value.dim() == 5}
    return {name: value for name, value in weights.items() if name not in biases}


def features(weights):
    """Give the features of a batch, normalised by its own statistics, as in training."""
    network = FPN(3, base_channels=SETTINGS["base_channels"], num_levels=SETTINGS["num_levels"])
    network.load_state_dict(weights)
    with torch.no_grad():
        return network.train()(torch.rand(2, 1, *SETTINGS["patch_size"], generator=torch.Generator().manual_seed(0)))
