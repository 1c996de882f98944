"""Long commands on tiny inputs, kills at drawn moments, and what a finished folder must hold."""

import hashlib
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml

from medssl.phantom.dataset import write_phantom
from medssl.workflows.training import pretrain
from tests.forked import Forked
from tests.killing import differences
from tests.tiny import NETWORK, PRETRAINING, SEGMENTATION, arguments
from tests.torchrun import start_on_ranks

PACE = {"steps_per_epoch": 5, "max_epochs": 4, "checkpoint_every": 3}
KATS = {**PRETRAINING, **PACE, "panel_every": 50}
IMAGE = {
    **{key: KATS[key] for key in ("spacing", "steps_per_epoch", "max_epochs", "num_workers", "checkpoint_every")},
    **{"patch_size": [16, 16, 16], "pairs_per_batch": 2, "embedding_channels": 8, "panel_every": 50},
    **{"backbone_def::depth": 10, "backbone_def::base_channels": 4},
}
MOCO = {**IMAGE, "queue_size": 16}
BYOL = {**IMAGE, "hidden_channels": 8}
TUNING = {**SEGMENTATION, **PACE, "learning_rate": 0.01, "val_interval": 2}
PLAN = {
    "data": ["ct"],
    "labels": [1],
    "folds": [0],
    "pretrain": {key: value for key, value in PRETRAINING.items() if key not in NETWORK},
    "segmentation": SEGMENTATION,
    "backbones": {"kats": {"method": "kats", "overrides": NETWORK}},
    "settings": {"linear_probe": {"backbones": ["kats"], "overrides": {"learning_rate": 0.01}}},
}


@dataclass(frozen=True)
class Inputs:
    """What the commands start from."""

    datalist: Path
    backbone: Path
    plan: Path
    store: Path


@dataclass(frozen=True)
class Command:
    """A long command.

    Attributes:
        words: of the command, given the inputs and the folder to make.
        content: of a finished folder, comparable.
        kills: how many in the campaign.
        ranks: processes; more than one under ``torchrun``.
        refusal: what it says where an earlier start had done all; empty: it says nothing and ends well.
    """

    words: Callable[[Inputs, Path], Sequence[Any]]
    content: Callable[[Path], dict[str, Any]]
    kills: int = 8
    ranks: int = 1
    refusal: str = ""


def write_inputs(folder: Path) -> Inputs:
    """Write phantoms, a pretrained backbone, a protocol and a store."""
    datalist = write_phantom(
        folder / "data",
        **{"num_cases": 5, "num_labelled": 2, "num_validation": 1, "num_test": 1},
        **{"shape": (40, 32, 20), "spacing": (5.6, 5.9, 8.5)},
    )
    pretrain("kats", datalist, ["ct"], folder / "backbone", overrides=PRETRAINING)
    plan = folder / "plan.yaml"
    plan.write_text(yaml.safe_dump(PLAN), encoding="utf-8")
    inputs = Inputs(datalist, folder / "backbone", plan, folder / "store")
    done = Forked(COMMANDS["prepare"].words(inputs, inputs.store), folder / "store.log", folder)
    if done.wait():
        raise RuntimeError(done.output())
    return inputs


def tensors(*names: str) -> Callable[[Path], dict[str, Any]]:
    """Compare the tensors and numbers of files by `tests.killing.differences`; ``*`` takes the last that fits."""
    return lambda folder: {name: sorted(folder.glob(name))[-1] for name in names}


def stored(store: Path) -> dict[str, Any]:
    """Give the bytes of all arrays of a store and what its records say, but for the times of the sources."""
    found: dict[str, Any] = {}
    for path in sorted(store.rglob("*")):
        name = str(path.relative_to(store))
        if path.suffix == ".npy":
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.suffix == ".json":
            found[name] = path.read_text(encoding="utf-8")
    return found


def rows(folder: Path) -> dict[str, Any]:
    """Give the rows of a protocol and its report's table."""
    found = {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("rows.jsonl")}
    return found | {"report": (folder / "report" / "report.md").is_file()}


def bundle(folder: Path) -> dict[str, Any]:
    """Give the configs of a packed bundle, its weights, and the names in it."""
    (made,) = folder.glob("*_pretrain")
    found: dict[str, Any] = {"names": sorted(str(path.relative_to(folder)) for path in folder.rglob("[!.]*"))}
    found |= {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (made / "configs").glob("*.json")}
    return found | {"model.pt": made / "models" / "model.pt"}


def _pretraining(method: str, settings: dict[str, Any], *options: Any) -> Callable[[Inputs, Path], Sequence[Any]]:
    def words(inputs: Inputs, out: Path) -> Sequence[Any]:
        common = ["--datalist", inputs.datalist, "--data", "ct", "--out", out, "--resume"]
        more = [getattr(inputs, option) if option == "store" else option for option in options]
        return ["pretrain", method, *common, *more, *arguments(settings)]

    return words


def _training(command: str, settings: dict[str, Any], *options: Any) -> Callable[[Inputs, Path], Sequence[Any]]:
    def words(inputs: Inputs, out: Path) -> Sequence[Any]:
        common = ["--datalist", inputs.datalist, "--data", "ct", "--backbone", inputs.backbone, "--out", out]
        return [command, *common, "--resume", *options, *arguments(settings)]

    return words


_BACKBONE = tensors("backbone.pt", "checkpoints/step=*.pt")
_MODEL = tensors("model.pt")
COMMANDS = {
    "prepare": Command(
        lambda inputs, out: [
            "prepare",
            inputs.datalist,
            "--data",
            "ct",
            "--out",
            out,
            "--spacing",
            SEGMENTATION["spacing"],
        ],
        stored,
        10,
    ),
    "pretrain kats": Command(_pretraining("kats", KATS), _BACKBONE, 10),
    "pretrain kats, 2 workers": Command(_pretraining("kats", {**KATS, "num_workers": 2}), _BACKBONE),
    "pretrain moco": Command(_pretraining("moco", MOCO), _BACKBONE, 10),
    "pretrain byol": Command(_pretraining("byol", BYOL), _BACKBONE, 10),
    "pretrain kats --store": Command(_pretraining("kats", KATS, "--store", "store"), _BACKBONE, 8),
    "pretrain kats --with fast": Command(_pretraining("kats", KATS, "--with", "fast"), _BACKBONE, 8),
    "probe": Command(_training("probe", SEGMENTATION), _MODEL, 8),
    "finetune": Command(_training("finetune", TUNING), _MODEL, 10),
    "protocol": Command(
        lambda inputs, out: ["protocol", inputs.plan, "--datalist", inputs.datalist, "--out", out], rows, 8
    ),
    "pack": Command(
        lambda inputs, out: ["pack", inputs.backbone, "--name", "toy", "--out", out],
        *(bundle, 4),
        refusal="exists; choose another name",
    ),
    "pretrain kats, 2 ranks": Command(_pretraining("kats", KATS), _BACKBONE, 6, ranks=2),
}


@dataclass
class Campaign:
    """Kills of one command, and what came of them."""

    command: Command
    inputs: Inputs
    folder: Path
    rng: random.Random
    kills: int = 0
    while_writing: int = 0
    compared: int = 0
    differences: list[str] = field(default_factory=list)
    length: float = 0.0

    def run(self, kills: int) -> None:
        """Kill the command a number of times; it ends with a folder that was finished and compared."""
        self.folder.mkdir()
        begun = time.monotonic()
        self._finish(self.folder / "whole")
        self.length = time.monotonic() - begun
        number = 0
        while self.kills < kills:
            out = self.folder / f"broken_{number}"
            while self.kills < kills and self._kill(out):
                pass
            self._finish(out)
            self._compare(out)
            shutil.rmtree(out)
            number += 1

    def _start(self, out: Path) -> Forked:
        words = self.command.words(self.inputs, out)
        if self.command.ranks > 1:
            return start_on_ranks(*words, cwd=self.folder, num_ranks=self.command.ranks)
        return Forked(words, out.with_suffix(".log"), self.folder)

    def _kill(self, out: Path) -> bool:
        """Start the command and kill it; False if it ended first."""
        process = self._start(out)
        end = time.monotonic() + self.rng.uniform(0, self.length)
        waits_for_file, files = self.rng.random() < 0.5, self.rng.randint(1, 8)
        seen: set[str] = set()
        while process.poll() is None:
            if waits_for_file:
                seen |= _temporary(out)
            if len(seen) >= files if waits_for_file else time.monotonic() > end:
                self._end(process.pid)
                break
            time.sleep(0.001)
        status = process.wait()
        if status == -signal.SIGKILL:
            self.kills += 1
            self.while_writing += bool(_temporary(out))
            return True
        if status and not self._was_done(process):
            self.differences.append(f"ended with {status}: {_output(process)[-600:]}")
        return False

    def _end(self, pid: int) -> None:
        # A launcher that is killed leaves its ranks at work, and the folder in their hands.
        ranks = psutil.Process(pid).children(recursive=True) if self.command.ranks > 1 else []
        os.kill(pid, signal.SIGKILL)
        for one in ranks:
            with suppress(psutil.NoSuchProcess):
                one.kill()

    def _finish(self, out: Path) -> None:
        process = self._start(out)
        # Long enough for a busy machine.
        if process.wait(3600) and not self._was_done(process):
            raise RuntimeError(f"{self.command.words(self.inputs, out)}: {_output(process)}")

    def _was_done(self, process: Forked) -> bool:
        """Say whether a command refuses since it was killed with its work done; what is there is compared."""
        return bool(self.command.refusal) and self.command.refusal in _output(process)

    def _compare(self, out: Path) -> None:
        self.compared += 1
        whole, broken = (self.command.content(folder) for folder in (self.folder / "whole", out))
        for name in whole.keys() | broken.keys():
            first, second = whole.get(name), broken.get(name)
            if isinstance(first, Path) and isinstance(second, Path):
                self.differences += [f"{name}: {key}" for key in differences(first, second)]
            elif first != second:
                self.differences.append(f"{name} differs: {first} {second}"[:600])
        left = [str(path) for path in out.rglob(".*.????????.*")]
        self.differences += [f"left: {path}" for path in left]


def _temporary(folder: Path) -> set[str]:
    """Give the temporary files and folders below a folder: hidden ones but locks."""
    found = set()
    for place, folders, files in os.walk(folder):
        found |= {f"{place}/{name}" for name in (*folders, *files) if name.startswith(".") and name != ".lock"}
    return found


def _output(process: Any) -> str:
    return process.output() if isinstance(process, Forked) else "".join(process.communicate())


torch.set_num_threads(1)
