"""Where names of former versions are now, so that their bundles and runs still load."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# A module of version 0.1, and the modules that hold its names today.
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
    "medssl.data.pictures": ("medssl.scans.pictures",),
    "medssl.data.readers": ("medssl.scans.readers",),
    "medssl.data.scan_voxels": ("medssl.probe.scan_voxels",),
    "medssl.data.streams": ("medssl.scans.streams",),
    "medssl.data.voxel_features": ("medssl.probe.voxel_features",),
    "medssl.engines.acceleration": ("medssl.speed.switches",),
    "medssl.engines.backbone": ("medssl.engines.weights",),
    "medssl.engines.checkpoints": ("medssl.runs.checkpoints",),
    "medssl.engines.distributed": ("medssl.runs.ranks", "medssl.engines.data_parallel"),
    "medssl.engines.exceptions": ("medssl.runs.exceptions",),
    "medssl.engines.features": ("medssl.probe.features",),
    "medssl.engines.frozen_rows": ("medssl.probe.frozen_rows",),
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
    "medssl.engines.run_folder": ("medssl.runs.folder", "medssl.runs.checkpoints", "medssl.runs.resume"),
    "medssl.engines.run_lock": ("medssl.runs.lock",),
    "medssl.engines.scan_features": ("medssl.probe.scan_features",),
    "medssl.engines.stopping": ("medssl.runs.stop",),
    "medssl.engines.voxel_probe": ("medssl.probe.voxel_probe",),
    "medssl.packaging.provenance": ("medssl.runs.record",),
    "medssl.workflows.probe_versions": ("medssl.probe.versions",),
    "medssl.workflows.starting": ("medssl.runs.start", "medssl.runs.resume"),
}


def current_name(name: str) -> str:
    """Return the dotted name under which something of a former version is found today; others as they are.

    Args:
        name: of a module, or of a class or function in one.

    Example:
        >>> current_name("medssl.engines.pretrain.ClipGradients"), current_name("medssl.networks.fpn.FPN")
        ('medssl.engines.steps.ClipGradients', 'medssl.networks.fpn.FPN')
    """
    module, _, attribute = name.rpartition(".")
    if module not in MOVED:
        return MOVED[name][0] if name in MOVED else name
    return f"{_holder(module, attribute).__name__}.{attribute}"


def _holder(former: str, name: str) -> ModuleType:
    for place in MOVED[former]:
        module = importlib.import_module(place)
        if hasattr(module, name):
            return module
    raise AttributeError(f"{former} has no {name!r}; its content is now in {', '.join(MOVED[former])}.")


class FormerModules(MetaPathFinder, Loader):
    """Finds the modules of former versions; what they hold is looked up where it is now."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module of a former version, or None for any other module."""
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module with nothing but the way to find its names."""

        def lookup(name: str) -> Any:
            return getattr(_holder(module.__name__, name), name)

        module.__getattr__ = lookup  # type: ignore[method-assign]


def find_former_modules() -> None:
    """Make the modules of former versions importable, behind all others."""
    if not any(isinstance(finder, FormerModules) for finder in sys.meta_path):
        sys.meta_path.append(FormerModules())
