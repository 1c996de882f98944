"""What most commands import, for the process that the commands of tests are forked from."""

import matplotlib.pyplot  # noqa: F401
import torch
import torch.utils.tensorboard

import medssl.cli.app
import medssl.engines.losses
import medssl.engines.progress
import medssl.engines.weights
import medssl.methods.byol
import medssl.methods.hierarchical
import medssl.methods.moco
import medssl.packaging.pack
import medssl.probe.run
import medssl.speed.gate
import medssl.workflows.preparing_cases
import medssl.workflows.training  # noqa: F401

torch.set_num_threads(1)
