"""What only a CUDA device can show; benchmarks/gpu.sh runs it."""

import copy

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.engines.utils import IterationEvents

from medssl.engines.batches import prepare_views
from medssl.files import write_json
from medssl.packaging.sources import source_bundles
from medssl.speed.gate import computes_as_float32
from medssl.speed.switches import Accelerated
from medssl.workflows.recipes import find_recipe, merge
from medssl.workflows.running import gpu_layers
from medssl.workflows.training import pretrain
from tests.engines.pretraining_method import make_batch, make_method
from tests.tiny import PRETRAINING

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
SIZE = (64, 64, 16)


def on_gpu(batch):
    return prepare_views(batch, torch.device("cuda"), False)[0]


@pytest.mark.parametrize(
    "switches",
    [["amp"], ["channels_last"], ["activation_checkpointing"], ["amp", "channels_last", "activation_checkpointing"]],
    ids="+".join,
)
def test_switches_have_the_gradients_of_float32(switches):
    network = Accelerated(make_method(base_channels=16).cuda(), **dict.fromkeys(switches, True))
    good, report = computes_as_float32(network, on_gpu(make_batch(SIZE)))
    assert good, report


def test_the_gradients_are_those_of_the_cpu():
    method, batch = make_method(base_channels=16), make_batch(SIZE)
    on_device = copy.deepcopy(method).cuda()

    class Moved(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.method = on_device

        def forward(self, batch):
            return {"loss": self.method(on_gpu(batch))["loss"].cpu()}

    losses = [float(m(b)["loss"]) for m, b in ((method, batch), (on_device, on_gpu(batch)))]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    expected = torch.autograd.grad(method(batch)["loss"], method.restoration_head.parameters())
    found = torch.autograd.grad(Moved()(batch)["loss"], on_device.restoration_head.parameters())
    for a, b in zip(expected, found, strict=True):
        assert (a - b.cpu()).norm() < 0.05 * a.norm() + 1e-4


def peak_bytes(**switches):
    network, batch = Accelerated(make_method(base_channels=16).cuda(), **switches), on_gpu(make_batch(SIZE))
    torch.cuda.reset_peak_memory_stats()
    network(batch)["loss"].backward()
    return torch.cuda.max_memory_allocated()


def test_bfloat16_and_recomputing_take_less_memory():
    assert peak_bytes(amp=True) < 0.8 * peak_bytes()
    assert peak_bytes(activation_checkpointing=True) < 0.8 * peak_bytes()


def test_pretraining_runs_on_the_device(ct_list, tmp_path):
    weights = pretrain("kats", ct_list, ["ct"], tmp_path / "run", layers=["fast"], overrides=PRETRAINING)
    assert all(torch.isfinite(value.float()).all() for value in torch.load(weights, weights_only=True).values())


@pytest.mark.parametrize("more", [[], ["efficient"]], ids=["default", "efficient"])
def test_a_step_does_not_wait_for_the_device(more, ct_list, tmp_path):
    # The trainer of the default recipe, with its own loader, handlers and optimizer, once the first steps are done.
    torch.cuda.set_sync_debug_mode("default")

    class Watched:
        def attach(self, engine):
            engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.end_of_warm_up)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.before_saving)

        def end_of_warm_up(self, engine):
            if engine.state.iteration == 4:
                torch.cuda.set_sync_debug_mode("error")

        def before_saving(self, engine):
            if engine.state.iteration == 7:
                torch.cuda.set_sync_debug_mode("default")

    steps = {"steps_per_epoch": 8, "checkpoint_every": 8, "panel_every": 8, "num_workers": 1}
    sizes = {"patch_size": [32, 32, 16], "pairs_per_batch": 4, "num_voxels": 256}
    try:
        train_with(Watched(), ct_list, tmp_path / "run", {**PRETRAINING, **sizes, **steps}, more)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def train_with(handler, datalist, folder, overrides, more=()):
    """Pretrain by the recipe as a GPU gets it, with one more handler and the layers that more names."""
    recipe = [
        find_recipe("pretrain/configs", "train"),
        find_recipe("pretrain/configs/methods", "kats"),
        find_recipe("data", "ct"),
        *(find_recipe("pretrain/configs", name) for name in more),
    ]
    settings = {"datalist": str(datalist), "output_dir": str(folder)}
    layers = gpu_layers(merge(recipe, settings, overrides), overrides)
    write_json(folder.parent / "config.json", merge([*recipe, *layers], settings, overrides))
    meta_file = source_bundles() / "segmentation" / "configs" / "metadata.json"
    workflow = ConfigWorkflow(
        str(folder.parent / "config.json"), str(meta_file), logging_file=False, workflow_type="train"
    )
    workflow.initialize()
    handler.attach(workflow.parser.get_parsed_content("train::trainer"))
    workflow.run()
