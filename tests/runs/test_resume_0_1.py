"""A run that version 0.1 began goes on, with the weights that 0.1 itself would have reached."""

import torch

from medssl.workflows.training import pretrain
from tests.former_version import unpack, write_scans

# Those of tests/fixtures/version_0_1/make.py.
SETTINGS = {
    **{"spacing": [6.0, 6.0, 9.0], "patch_size": [16, 16, 8], "shuffle_blocks": 20, "num_workers": 0},
    **{"base_channels": 2, "level_channels": 2, "num_levels": 2, "pairs_per_batch": 2, "num_voxels": 16},
    **{"max_epochs": 1, "steps_per_epoch": 4, "checkpoint_every": 2, "panel_every": 4},
}
LEARNING_RATE = 3e-4


def test_a_stopped_pretraining_goes_on(tmp_path):
    runs = unpack(tmp_path / "runs")
    datalist = write_scans(tmp_path / "scans")
    weights = pretrain("kats", datalist, ["ct"], runs / "stopped", overrides=SETTINGS, resume=True)
    resumed = torch.load(weights, weights_only=True)
    reached = torch.load(runs / "pretrained/backbone.pt", weights_only=True)
    assert resumed.keys() == reached.keys()
    for name, value in resumed.items():
        # Another processor adds up in another order. Biases before a batch norm have gradients of that alone, of which
        # Adam makes whole steps: two since the stop, either way.
        before_norm = name.endswith(".bias") and resumed[name.removesuffix("bias") + "weight"].dim() == 5
        close = {"rtol": 1e-3, "atol": 2 * 2 * LEARNING_RATE if before_norm else 1e-4}
        torch.testing.assert_close(value, reached[name], **close, msg=lambda text, name=name: f"{name}: {text}")
