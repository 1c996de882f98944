"""Cases preprocessed into a volume store, one by one or in several processes."""

import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from medssl.data.store import (
    case_folder,
    case_key,
    describe_source,
    has_source,
    preprocessing_sha256,
    source_stamp,
    write_manifest,
)
from medssl.data.volumes import RECORD, is_undamaged, read_record, write_volume
from medssl.files import STAGING, staging_folder, sweep_temporary, write_json
from medssl.runs.ranks import num_ranks, rank
from medssl.scans.channels import image_files
from medssl.scans.headers import read_header
from medssl.workflows.preprocessing import STEPS, preprocessing_of, preprocessing_transform
from medssl.workflows.run_pool import prepare_process

# int16 voxels and the uint8 mask of the body; int32 ids of superpixels.
_BYTES_PER_VOXEL, _BYTES_OF_REGIONS = 3, 4
_BUSY, _KEPT, _MADE, _FAILED = "busy", "kept", "made", "failed"
_LOCK = "lock"
# Prepared in less time than another process takes to start.
_FEW_BYTES = 32 << 20


@dataclass(frozen=True)
class _Job:
    """What a process needs to prepare a case."""

    store: Path
    config: Mapping[str, Any]
    preprocessing: str
    verify: bool
    wait: bool = False


def prepare_cases(
    config: Mapping[str, Any],
    recipe: Sequence[str],
    cases: Sequence[Mapping[str, str]],
    store: Path,
    num_processes: int | None,
    verify: bool,
) -> dict[str, tuple[str, str]]:
    """Preprocess the cases of this rank into a store, and return what became of each: a status and perhaps a problem.

    Args:
        config: merged pretraining recipe.
        recipe: names of its files, for the manifest.
        cases: of a data list.
        store: new or existing folder.
        num_processes: cases prepared at a time; default: one per core, or 1 for a few small files.
        verify: also compare the checksums of the cases to keep.

    Raises:
        OSError: if the disk has too little space.
    """
    preprocessing = preprocessing_of(config)
    job = _Job(store, config, preprocessing_sha256(preprocessing), verify)
    job.store.mkdir(parents=True, exist_ok=True)
    _sweep(job.store)
    share = cases[rank() :: num_ranks()]
    with _pool(min(num_processes or _default_processes(share), len(share)), config) as pool:
        _require_space(pool, job, share, config.get("spacing"))
        results = _prepare_all(pool, job, share)
    with _claimed(job.store / "store.lock", wait=True):
        sweep_temporary(job.store)
        write_manifest(job.store, preprocessing, recipe)
    return results


def _prepare_all(pool: Executor | None, job: _Job, cases: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, str]]:
    results: dict[str, tuple[str, str]] = {}
    waiting = list(cases)
    # Cases that another command is working on come last, so that two commands share the work.
    for wait in (False, True):
        found = _each(pool, partial(_prepare_case, replace(job, wait=wait)), waiting, "Preparing")
        results |= {entry["case"]: result for entry, result in zip(waiting, found, strict=True)}
        waiting = [entry for entry in waiting if results[entry["case"]][0] == _BUSY]
    return results


def _prepare_case(job: _Job, entry: Mapping[str, str]) -> tuple[str, str]:
    """What became of a case, and its problem if it failed."""
    folder, image = case_folder(job.store, entry["case"]), entry["image"]
    try:
        with _claimed(folder / _LOCK, job.wait) as mine:
            if not mine:
                return _BUSY, ""
            source = describe_source(image)
            key = case_key(source["sha256"], job.preprocessing)
            if _is_kept(job, folder / key[:16], source):
                return _KEPT, ""
            identity = {"case": entry["case"], "key": key, "preprocessing": job.preprocessing, "source": source}
            _make(job, folder, image, identity)
            return _MADE, ""
    except Exception as error:
        # One bad case must not stop the others.
        text = _cause(error)
        return _FAILED, text if str(image) in text else f"{image}: {text}"


def _is_kept(job: _Job, folder: Path, source: Mapping[str, Any]) -> bool:
    volume = read_record(folder)
    if volume is None or not is_undamaged(folder, volume, fully=job.verify):
        return False
    sweep_temporary(folder)
    if volume.source != source:
        # The same content has a new name or time; without this the store would look stale.
        write_json(folder / RECORD, asdict(replace(volume, source=source)))
    return True


def _make(job: _Job, folder: Path, image: str | list[str], identity: Mapping[str, Any]) -> None:
    name = identity["key"][:16]
    with staging_folder(folder, last=name) as staging:
        sample = preprocessing_transform(job.config)({"case": identity["case"], "image": image})
        image, regions = sample["image"], sample.get("regions")
        write_volume(staging / name, image, sample["foreground"], image.affine, identity, regions)
        for former in folder.glob("*/"):
            if former.name != staging.name:
                shutil.rmtree(former)


def _cause(error: BaseException) -> str:
    # MONAI wraps what went wrong in a transform.
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def _sweep(store: Path) -> None:
    """Delete what killed commands left unfinished; cases that other commands work on are locked, and stay."""
    for left in store.glob(f"cases/*/{STAGING}*"):
        with _claimed(left.parent / _LOCK, wait=False) as mine:
            if mine:
                shutil.rmtree(left, ignore_errors=True)


def _require_space(pool: Executor | None, job: _Job, cases: Sequence[Mapping[str, str]], spacing: Any) -> None:
    # All ranks have shares of about the same size.
    needed = num_ranks() * sum(_each(pool, partial(_missing_bytes, job, spacing), cases, "Reading headers"))
    free = shutil.disk_usage(job.store).free
    if needed > free:
        raise OSError(
            f"{job.store} needs up to {needed / 2**30:.2f} GiB, and the disk has {free / 2**30:.2f} GiB free; free "
            "some space, or choose another disk with --out."
        )


def _missing_bytes(job: _Job, spacing: Sequence[float] | None, entry: Mapping[str, str]) -> int:
    """Upper bound, from the header, of the bytes that a case will add to the store; cropping air makes it smaller."""
    records = map(read_record, case_folder(job.store, entry["case"]).glob("*/"))
    if any(record is not None and record.preprocessing == job.preprocessing for record in records):
        return 0
    try:
        files = image_files(entry["image"])
        header = read_header(files[0])
    except (ValueError, OSError):
        # It fails, with a message, when its turn comes.
        return 0
    voxels = len(files) * np.prod(header.shape[:3], dtype=float)
    if spacing is not None:
        voxels *= np.prod(header.spacing) / np.prod(spacing)
    has_regions = "Superpixelsd" in str(job.config["foreground_transforms"])
    return int(voxels * (_BYTES_PER_VOXEL + has_regions * _BYTES_OF_REGIONS))


def _each(pool: Executor | None, function: Callable, items: Sequence[Any], text: str) -> list[Any]:
    if not items:
        return []
    results = pool.map(function, items) if pool else map(function, items)
    try:
        return list(tqdm(results, total=len(items), desc=text, unit="case", delay=1))
    except BrokenProcessPool as error:
        raise OSError(
            "A process was killed, perhaps because memory ran out. Run the command again with fewer --processes; "
            "finished cases are kept."
        ) from error


@contextmanager
def _pool(num_processes: int, config: Mapping[str, Any]) -> Iterator[Executor | None]:
    if num_processes <= 1:
        yield None
        return
    # A process forked from this one would inherit its locks and threads. A server that has imported what a case needs
    # and holds neither forks instead, so that torch and MONAI are imported once and not by every process.
    context = get_context("forkserver")
    context.set_forkserver_preload(["medssl.runs.quick_end", __name__, *_modules(config)])
    _start_server()
    with ProcessPoolExecutor(num_processes, mp_context=context, initializer=prepare_process) as pool:
        yield pool


def _modules(config: Mapping[str, Any]) -> list[str]:
    """Return the modules of the transforms of a recipe that are named by dotted paths."""
    steps = [step for name in STEPS for step in config[name] if isinstance(step, dict)]
    return sorted({str(step.get("_target_", "")).rpartition(".")[0] for step in steps} - {""})


def _start_server() -> None:
    """Start the server from which processes fork, deaf to SIGINT and SIGTERM as they are.

    Both are often sent to all processes of a command, and a case at hand is finished, and kept, before it ends.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _default_processes(cases: Sequence[Mapping[str, str]]) -> int:
    total = sum(source_stamp(case["image"])["bytes"] for case in cases if has_source(case["image"]))
    if total < _FEW_BYTES:
        return 1
    return max((os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)


@contextmanager
def _claimed(path: Path, wait: bool) -> Iterator[bool]:
    """Try to hold a lock file in the block; yields whether it is held. It is released when the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
