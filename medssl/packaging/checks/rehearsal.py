"""What others will do with a packed bundle, tried first: every MONAI command, in a fresh process and folder."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from medssl.packaging.sources import source_bundles

# How often a command that runs looks whether it is still wanted.
_LOOK_SECONDS = 0.2
# The scan of the rehearsal: anisotropic, oblique and left-handed, so that no shortcut gets it right.
_SHAPE = (48, 40, 12)
_AFFINE = np.array([[-1.9, 0.3, 0, 40], [0.3, 1.9, 0, -30], [0, 0, 4.0, 100], [0, 0, 0, 1]])
# Runs in a fresh process too; every line that begins with FAULT is a fault.
_CHECKS = """
import sys
import torch
from torch import nn
from monai.bundle import ConfigWorkflow, load
from medssl.networks.state_dicts import read_weights
from medssl.packaging.inference_config import build_network
from medssl.packaging.weights import SCRIPT_TOLERANCE, load_strictly, script_error

folder, name, scan, script, *shape = sys.argv[1:]
bundle = f"{folder}/{name}"
config, metadata = f"{bundle}/configs/inference.json", f"{bundle}/configs/metadata.json"
network = build_network(config, trust=True)
load_strictly(network, read_weights(f"{bundle}/models/model.pt"), f"{bundle}/models/model.pt")
error = script_error(network, torch.jit.load(script).eval(), tuple(map(int, shape)))
if not error <= SCRIPT_TOLERANCE:
    print(f"FAULT What monai.bundle ckpt_export writes differs from models/model.pt by {error:.1e}.")
workflow = ConfigWorkflow(config, metadata, None, workflow_type="inference", bundle_root=bundle, input=scan)
workflow.initialize()
missing = workflow.check_properties()
if missing:
    print(f"FAULT configs/inference.json is not an inference workflow: it lacks {', '.join(missing)}.")
packed = read_weights(f"{bundle}/models/model.pt")
for kind in ("train", "inference"):
    loaded = load(name, bundle_dir=folder, workflow_type=kind)
    if not isinstance(loaded, nn.Module):
        print(f"FAULT monai.bundle.load with configs/{kind}.json gives {type(loaded).__name__}, not a network.")
    elif not all(name in packed and torch.equal(packed[name], value) for name, value in loaded.state_dict().items()):
        print(f"FAULT monai.bundle.load with configs/{kind}.json gives a network without the weights of model.pt.")
"""


def rehearse(bundle: Path) -> list[str]:
    """Return what fails when others use a packed bundle, one sentence per fault; an empty list if nothing does.

    In fresh processes, in a folder that is not the bundle's: ``monai.bundle verify_metadata`` against the schema of
    2024-07-25, ``verify_net_in_out``, ``ckpt_export`` and its result beside the network, ``run`` on a scan, the
    properties of the inference workflow, and ``monai.bundle.load``.

    Args:
        bundle: folder of one that you trust, because MONAI's commands run its code, and without faults that
            `medssl.packaging.checks.preflight.check_bundle` finds.
    """
    bundle = bundle.resolve()
    # Where the check is stopped, its folder goes first, and with it the commands that run in it.
    with ThreadPoolExecutor(2) as pool, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _write_scan(folder, _input_shape(bundle))
        steps = (_metadata, _network, _export, _inference)
        faults = [fault for found in pool.map(lambda step: list(step(bundle, folder)), steps) for fault in found]
        return faults or list(_python_checks(bundle, folder))


def _metadata(bundle: Path, folder: Path) -> Iterator[str]:
    schema = folder / "schema.json"
    shutil.copyfile(source_bundles() / "schema" / "metadata_20240725.json", schema)
    meta = bundle / "configs" / "metadata.json"
    yield from _bundle_command("verify_metadata", folder, meta_file=meta, filepath=schema)


def _network(bundle: Path, folder: Path) -> Iterator[str]:
    yield from _bundle_command("verify_net_in_out", folder, **_network_files(bundle), device="cpu")


def _export(bundle: Path, folder: Path) -> Iterator[str]:
    weights = bundle / "models" / "model.pt"
    script = folder / "exported.ts"
    yield from _bundle_command("ckpt_export", folder, **_network_files(bundle), ckpt_file=weights, filepath=script)


def _inference(bundle: Path, folder: Path) -> Iterator[str]:
    scan, out = _scan(folder), folder / "out"
    files = {"config_file": bundle / "configs" / "inference.json", "bundle_root": bundle}
    faults = list(_bundle_command("run", folder, **files, input=scan, output_dir=out))
    yield from faults
    if not faults and not any(out.glob("scan_*.nii.gz")):
        yield "monai.bundle run with configs/inference.json ends without an error but writes no scan_*.nii.gz."


def _python_checks(bundle: Path, folder: Path) -> Iterator[str]:
    arguments = [bundle.parent, bundle.name, _scan(folder), folder / "exported.ts", *_input_shape(bundle)]
    done = _fresh_python(["-c", _CHECKS, *map(str, arguments)], folder)
    yield from (line.removeprefix("FAULT ") for line in done.stdout.splitlines() if line.startswith("FAULT "))
    yield from _fault_of("The bundle cannot be used from Python", done)


def _network_files(bundle: Path) -> dict[str, object]:
    configs = bundle / "configs"
    return {
        "net_id": "network_def",
        "meta_file": configs / "metadata.json",
        "config_file": configs / "inference.json",
    }


def _input_shape(bundle: Path) -> list[int]:
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    image = metadata["network_data_format"]["inputs"]["image"]
    # Another type is for `_metadata` to tell.
    channels = image["num_channels"] if isinstance(image["num_channels"], int) else 1
    return [1, channels, *(int(str(size).removesuffix("*n")) for size in image["spatial_shape"])]


def _write_scan(folder: Path, input_shape: Sequence[int]) -> None:
    """Write a scan for a network of three axes; for one of two, a picture, in colours if it takes three channels."""
    random = np.random.default_rng(0)
    channels, *sizes = input_shape[1:]
    if len(sizes) == 2:
        pixels = random.integers(0, 256, (*_SHAPE[1::-1], 3), np.uint8)
        Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(folder / "scan.png")
        return
    scan = np.full(_SHAPE, -1000, np.int16)
    for channel in range(channels):
        scan[8:40, 8:32, 1:11] = random.integers(-100, 300, (32, 24, 10))
        name = "scan.nii.gz" if channels == 1 else f"scan_{channel:04d}.nii.gz"
        nib.save(nib.Nifti1Image(scan, _AFFINE), folder / name)


def _scan(folder: Path) -> Path:
    names = ("scan.nii.gz", "scan_0000.nii.gz", "scan.png")
    return next(path for path in map(folder.joinpath, names) if path.exists())


def _bundle_command(command: str, folder: Path, **arguments: object) -> Iterator[str]:
    words = [word for key, value in arguments.items() for word in (f"--{key}", str(value))]
    done = _fresh_python(["-m", "monai.bundle", command, *words], folder)
    yield from _fault_of(f"monai.bundle {command} fails", done)


def _fresh_python(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder as long as that is there."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603 (the words are this file's own, and no shell reads them)
        command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, encoding="utf-8"
    ) as process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    out, error = process.communicate(timeout=_LOOK_SECONDS)
                    return subprocess.CompletedProcess(command, process.returncode, out, error)
                if not folder.exists():
                    process.kill()
        except BaseException:
            process.kill()
            raise


def _fault_of(what: str, done: subprocess.CompletedProcess[str]) -> Iterator[str]:
    """Yield the reason of a process that failed: the last line of its error, and that of the error which caused it."""
    if done.returncode:
        first, *_ = done.stderr.split("\nThe above exception was the direct cause of")
        said, cause = map(_last_line, (done.stderr, first))
        yield f"{what}: {said}." if cause == said else f"{what}: {said}, because of {cause}."


def _last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no message"])[-1].rstrip(".")
