"""Where the names of version 0.1 are now, so that its bundles, its runs and recipes made for it still load.

A bundle names its parts by dotted paths, which MONAI imports. `find_former_modules` makes the former modules
importable: they are empty, and look each name up where it is today.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# A module of version 0.1, and the modules that hold its names today. Where a name was changed too, a row of its own
# says so: "medssl.former.module.Name": ("medssl.present.module.NewName",).
MOVED: dict[str, tuple[str, ...]] = {
    "medssl.data.colours": ("medssl.scans.colours",),
    "medssl.data.contents": ("medssl.scans.contents",),
    "medssl.data.dicom": ("medssl.scans.dicom",),
    "medssl.data.files": ("medssl.files",),
    "medssl.data.geometry": ("medssl.scans.geometry",),
    "medssl.data.headers": ("medssl.scans.headers",),
    "medssl.data.inputs": ("medssl.scans.inputs",),
    "medssl.data.integrity": ("medssl.scans.integrity", "medssl.data.checking"),
    "medssl.data.labels": ("medssl.scans.labels",),
    "medssl.data.loading": ("medssl.scans.loading",),
    "medssl.data.loading_2d": ("medssl.scans.loading_2d",),
    "medssl.data.nifti": ("medssl.scans.nifti",),
    "medssl.data.phantom": ("medssl.phantom.dataset",),
    "medssl.data.phantom_anatomy": ("medssl.phantom.anatomy",),
    "medssl.data.phantom_scan": ("medssl.phantom.scan",),
    "medssl.data.phantom_shapes": ("medssl.phantom.shapes",),
    "medssl.data.pictures": ("medssl.scans.pictures", "medssl.scans.monai_readers"),
    "medssl.data.readers": ("medssl.scans.readers", "medssl.scans.monai_readers"),
    "medssl.data.scan_voxels": ("medssl.probe.choose", "medssl.probe.arrays"),
    "medssl.data.streams": ("medssl.scans.streams",),
    "medssl.data.voxel_features": ("medssl.probe.rows", "medssl.probe.batches", "medssl.probe.choose"),
    "medssl.engines.acceleration": ("medssl.speed.switches",),
    "medssl.engines.backbone": ("medssl.engines.weights",),
    "medssl.engines.checkpoints": ("medssl.runs.checkpoints", "medssl.runs.tensors"),
    "medssl.engines.distributed": ("medssl.runs.ranks", "medssl.engines.data_parallel"),
    "medssl.engines.distributed.refuse_ranks": ("medssl.runs.ranks.require_one_process",),
    "medssl.engines.exceptions": ("medssl.runs.exceptions",),
    "medssl.engines.features": ("medssl.probe.cache", "medssl.probe.batches"),
    "medssl.engines.frozen_rows": ("medssl.probe.rows", "medssl.probe.windows"),
    "medssl.engines.gradient_parity": ("medssl.speed.parity",),
    "medssl.engines.layer_parity": ("medssl.speed.parity",),
    "medssl.engines.parity": ("medssl.speed.gate",),
    "medssl.engines.pretrain": (
        "medssl.engines.batches",
        "medssl.engines.losses",
        "medssl.engines.progress",
        "medssl.engines.steps",
        "medssl.engines.weights",
    ),
    "medssl.engines.run_folder": (
        "medssl.runs.folder",
        "medssl.runs.checkpoints",
        "medssl.runs.resume",
        "medssl.runs.tensors",
    ),
    "medssl.engines.run_folder.refuse_held_folder": ("medssl.runs.folder.require_free_folder",),
    "medssl.engines.run_lock": ("medssl.runs.lock",),
    "medssl.engines.scan_features": ("medssl.probe.cache",),
    "medssl.engines.stopping": ("medssl.runs.stop",),
    "medssl.engines.stopping.leave_signals_to_main": ("medssl.engines.workers.start_worker",),
    "medssl.packaging.checking": ("medssl.packaging.checks.checking",),
    "medssl.packaging.config_faults": ("medssl.packaging.checks.config_faults",),
    "medssl.packaging.metadata_faults": ("medssl.packaging.checks.metadata_faults",),
    "medssl.packaging.preflight": ("medssl.packaging.checks.preflight",),
    "medssl.engines.voxel_probe": ("medssl.probe.batches", "medssl.probe.dice", "medssl.probe.fit"),
    "medssl.evaluation.windows": ("medssl.ops.windows",),
    "medssl.packaging.provenance": ("medssl.runs.record",),
    "medssl.packaging.rehearsal": ("medssl.packaging.checks.rehearsal",),
    "medssl.packaging.unpacking": ("medssl.packaging.checks.unpacking",),
    "medssl.packaging.workflow_faults": ("medssl.packaging.checks.workflow_faults",),
    "medssl.workflows.probe_versions": ("medssl.probe.versions",),
    "medssl.workflows.starting": ("medssl.runs.start", "medssl.runs.resume"),
}


def current_name(name: str) -> str:
    """Return the dotted path under which a name of version 0.1 is found today; any other comes back as it is.

    Args:
        name: of a module, or of a class or function in one.

    Example:
        >>> current_name("medssl.engines.pretrain.ClipGradients"), current_name("medssl.networks.fpn.FPN")
        ('medssl.engines.steps.ClipGradients', 'medssl.networks.fpn.FPN')
    """
    module, _, attribute = name.rpartition(".")
    if module in MOVED:
        return _find(module, attribute)[0]
    return MOVED[name][0] if name in MOVED else name


def _find(former: str, name: str) -> tuple[str, Any]:
    """Return the present path of a name in a former module, and what is there."""
    for path in MOVED.get(f"{former}.{name}") or [f"{module}.{name}" for module in MOVED[former]]:
        module, _, attribute = path.rpartition(".")
        present = import_module(module)
        if hasattr(present, attribute):
            return path, getattr(present, attribute)
    raise AttributeError(f"{former} has no {name!r}; its content is now in {', '.join(MOVED[former])}.")


class _FormerModules(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        former = module.__name__

        def lookup(name: str) -> Any:
            # Programs ask every loaded module for names such as __file__; that must not load the present ones.
            if name.startswith("__"):
                raise AttributeError(f"{former} has no {name!r}.")
            return _find(former, name)[1]

        module.__getattr__ = lookup  # type: ignore[method-assign]


def find_former_modules() -> None:
    """Make the modules of version 0.1 importable; every other way to find a module comes first."""
    if not any(type(finder).__name__ == _FormerModules.__name__ for finder in sys.meta_path):
        sys.meta_path.append(_FormerModules())
