"""Run a merged configuration with MONAI's ConfigWorkflow, in this process."""

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.dummy import DummyProcess
from pathlib import Path
from typing import Any

from medssl.packaging.sources import source_bundles
from medssl.workflows.config_files import has_setting
from medssl.workflows.recipes import find_recipe

_FUSED = ("torch.optim.Adam", "torch.optim.AdamW", "torch.optim.SGD")


def run_config(config_file: Path, workflow_type: str | None = "train", layers: Sequence[Path] = ()) -> None:
    """Run a configuration as ``python -m monai.bundle run --config_file CONFIG_FILE`` does, in this process.

    Args:
        config_file: a merged configuration.
        workflow_type: ``train`` for a trainer, None for a configuration that only needs ``run``.
        layers: files that are merged over the configuration.

    Raises:
        ValueError, OSError, FloatingPointError: of a transform, a handler or the data, without the RuntimeError that
            MONAI wraps around it.
    """
    from monai.bundle import ConfigWorkflow

    logging.getLogger("monai.bundle.workflows").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        # MONAI warns about untrusted bundles; this configuration was just merged from medssl's own recipes.
        warnings.filterwarnings("ignore", message=".*trust.*", category=UserWarning)
        warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
        # It concerns weights that are 1 wide, whose memory layout is the same for all strides.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        workflow = ConfigWorkflow(
            config_file=[str(path) for path in (config_file, *layers)],
            meta_file=str(source_bundles() / "segmentation" / "configs" / "metadata.json"),
            logging_file=False,
            workflow_type=workflow_type,
        )
        try:
            with bare_errors():
                workflow.initialize()
                workflow.run()
                workflow.finalize()
        finally:
            _wait_for_thread_pools()


def gpu_layers(config: Mapping[str, Any], overrides: Mapping[str, Any], has_gpu: bool | None = None) -> list[Path]:
    """Return the files that make a training ready for a GPU, to be merged over its configuration as it runs.

    Args:
        config: a merged configuration.
        overrides: set by the user, who may have chosen the CPU or the number of workers.
        has_gpu: whether there is one; None: whether torch finds a CUDA device.
    """
    if has_gpu is None:
        import torch

        has_gpu = torch.cuda.is_available()
    trains = has_setting(config, "train::dataloader") and has_setting(config, "train::trainer")
    if not has_gpu or not trains or "cpu" in str(overrides.get("device")):
        return []
    names = ["gpu"]
    if config["train"]["dataloader"].get("num_workers") == "@num_workers":
        names += ["gpu_workers"] if config["num_workers"] else []
        names += ["gpu_num_workers"] if "num_workers" not in overrides else []
    if has_setting(config, "train::optimizer::_target_") and config["train"]["optimizer"]["_target_"] in _FUSED:
        names.append("gpu_fused")
    return [find_recipe("pretrain/configs", name) for name in names]


@contextmanager
def bare_errors() -> Iterator[None]:
    """Raise the error of a transform or a configuration without the RuntimeError that MONAI wraps around it.

    Raises:
        ValueError, OSError, FloatingPointError: unwrapped; any other error stays as it is.

    Example:
        >>> from monai.transforms import Compose, Lambda
        >>> with bare_errors():
        ...     Compose([Lambda(int)])("one")
        Traceback (most recent call last):
        ...
        ValueError: invalid literal for int() with base 10: 'one'
    """
    try:
        yield
    except RuntimeError as error:
        cause: BaseException = error
        while isinstance(cause, RuntimeError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, ValueError | OSError | FloatingPointError):
            raise cause from None
        raise


def _wait_for_thread_pools() -> None:
    """After an error, wait until MONAI's cache has finished its case: torch would abort in it when Python exits."""
    for thread in threading.enumerate():
        if isinstance(thread, DummyProcess) and thread is not threading.current_thread():
            thread.join()
