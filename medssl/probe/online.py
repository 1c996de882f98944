"""A probe during pretraining: every so many steps, what the features are worth on a few labelled cases."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.handlers import TensorBoardHandler
from monai.transforms import SpatialPad
from torch import Tensor, nn

from medssl.data.datalist import load_few_labels, load_section, read_datalist
from medssl.files import replacing
from medssl.networks.backbone import Backbone
from medssl.networks.heads import LinearHead
from medssl.probe.choose import choose_voxels, steadily
from medssl.probe.dice import head_dice
from medssl.probe.fit import fit_head
from medssl.probe.rows import VoxelRows
from medssl.probe.windows import central_features
from medssl.runs.saved import saved_module

NAME = "online_probe.jsonl"


class OnlineProbe(TensorBoardHandler):
    """Handler that solves a linear probe on the backbone as it is, every `interval` steps, at the start and at the end.

    The head is fitted to the first `num_labels` cases of a draw from the section ``training`` (`fit_head`), and its
    Dice measured on the first `num_validation` cases of ``validation``. Each time a line goes to ``online_probe.jsonl``
    in the run folder, with ``step``, ``mean_dice``, ``dice`` of every class and ``seconds``, and the Dice to
    TensorBoard. A resumed run drops the lines of the steps that it takes again.

    A run that keeps a moving average of the backbone, which it saves in the end, is probed on that average.

    Nothing of the training changes: weights, gradients, batch statistics, modes and random states stay as they are.

    Args:
        backbone: what is trained.
        datalist: the data list of the labelled cases.
        preprocessing: deterministic transform that gives ``image`` and ``label`` of a case. Each case is preprocessed
            once and kept in memory.
        patch_size: of the windows in which features are computed; smaller volumes are padded to it.
        output_dir: the run folder.
        interval: steps between two probes.
        num_labels: number of cases that the head is fitted to.
        num_validation: number of cases that it is measured on.
        fold: which of the seeded nested subsets of labelled cases.
        rows_per_volume: voxels of a case that are read, half of them background.
        overlap: of the windows.
        l2: weight of the penalty, see `fit_head`.

    Raises:
        ValueError: if there is no data list, it has too few labelled cases or no case to validate on, or an interval or
            a number is below 1.
    """

    def __init__(
        self,
        backbone: Backbone,
        datalist: str | None,
        preprocessing: Callable[[dict[str, Any]], Mapping[str, Any]],
        patch_size: Sequence[int],
        output_dir: str,
        interval: int = 500,
        num_labels: int = 2,
        num_validation: int = 3,
        fold: int = 0,
        rows_per_volume: int = 8192,
        overlap: float = 0.25,
        l2: float | None = 0.01,
    ) -> None:
        super().__init__(log_dir=str(Path(output_dir) / "tensorboard"))
        if datalist is None:
            raise ValueError("The online probe needs labelled cases; give their data list with --probe_datalist.")
        if min(interval, num_labels, num_validation, rows_per_volume) < 1:
            raise ValueError("The online probe's interval and its numbers of cases and voxels must be at least 1.")
        listed = read_datalist(datalist)
        self.backbone = backbone
        self.class_names = [name for value, name in listed.labels.items() if value > 0]
        self.training = load_few_labels(datalist, "training", num_labels, fold)
        self.validation = load_section(datalist, "validation")[:num_validation]
        self.preprocessing = preprocessing
        self.patch_size = tuple(patch_size)
        self.path = Path(output_dir) / NAME
        self.interval, self.rows_per_volume, self.overlap, self.l2 = interval, rows_per_volume, overlap, l2
        self._cases: dict[str, tuple[Tensor, np.ndarray]] = {}
        self._last = -1

    def attach(self, engine: Engine) -> None:
        """Probe the start of a new run, every `interval` steps, and the end."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def __call__(self, engine: Engine) -> None:
        """Probe the backbone as it is, and write down what comes out."""
        start, step = time.monotonic(), engine.state.iteration
        backbone = saved_module(engine, self.backbone)
        with _as_it_was(backbone):
            dice = self._dice(backbone)
        known = [value for value in dice.values() if value is not None]
        mean = round(float(np.mean(known)), 4) if known else None
        self._write({"step": step, "mean_dice": mean, "dice": dice, "seconds": round(time.monotonic() - start, 2)})
        for name, value in {"mean": mean, **dice}.items():
            if value is not None:
                self._writer.add_scalar(f"online_probe/{name}", value, step)
        self._writer.flush()
        self._last = step

    def _begin(self, engine: Engine) -> None:
        # A run that is resumed has been probed before.
        if engine.state.iteration == 0:
            self(engine)

    def _finish(self, engine: Engine) -> None:
        if engine.state.iteration != self._last:
            self(engine)
        self.close()

    def _dice(self, backbone: Backbone) -> dict[str, float | None]:
        device = next(backbone.parameters()).device
        channels = backbone.level_channels
        head = LinearHead(backbone.spatial_dims, channels, len(self.class_names), upsampling="linear").to(device)
        fit_head(head, {case["case"]: self._rows(backbone, case) for case in self.training}, self.class_names, self.l2)
        return head_dice(head, [self._rows(backbone, case) for case in self.validation], self.class_names)

    def _rows(self, backbone: Backbone, case: Mapping[str, str]) -> VoxelRows:
        device = next(backbone.parameters()).device
        image, label = self._preprocessed(case)
        voxels, weights = choose_voxels(label, self.rows_per_volume, steadily(label.size, seed=0))
        places = np.stack(np.unravel_index(voxels, label.shape), axis=1)
        features = central_features(backbone, image, places, self.patch_size, self.overlap, device, upsampling="linear")
        if not np.isfinite(features).all():
            raise FloatingPointError(f"The backbone gives features of case {case['case']} that are not finite.")
        return VoxelRows(features, label.ravel()[voxels], weights, np.array([len(voxels)]))

    def _preprocessed(self, case: Mapping[str, str]) -> tuple[Tensor, np.ndarray]:
        if case["case"] not in self._cases:
            sample = self.preprocessing(dict(case))
            pad = SpatialPad(self.patch_size)
            image = torch.as_tensor(np.asarray(pad(sample["image"])), dtype=torch.float32)
            self._cases[case["case"]] = image, np.asarray(pad(sample["label"]))[0].astype(np.int64)
        return self._cases[case["case"]]

    def _write(self, row: Mapping[str, Any]) -> None:
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] < row["step"]]
        with replacing(self.path) as temporary:
            temporary.write_text("\n".join([*kept, json.dumps(row)]) + "\n", encoding="utf-8")


@contextmanager
def _as_it_was(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for a block; modes and random states are afterwards what they were."""
    modes = [(module, module.training) for module in network.modules()]
    with torch.random.fork_rng(devices=[]):
        network.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
