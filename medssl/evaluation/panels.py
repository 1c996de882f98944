"""Pictures of pretraining in TensorBoard: what the network sees, restores and encodes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from monai.handlers import TensorBoardHandler
from monai.utils import convert_to_tensor
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.tensorboard import SummaryWriter

from medssl.evaluation.embeddings import dense_embeddings, principal_colours


class ViewPanels(TensorBoardHandler):
    """Handler that writes a picture of both views, the clean patch, its restoration and the embeddings.

    Shows the first sample of the batch (see `view_pictures`). Parameters, training modes, batch-norm statistics and the
    random state stay as they were.

    Args:
        interval: iterations between two pictures.
        log_dir: folder of the TensorBoard logs, used without `summary_writer`.
        summary_writer: an open writer, shared with other handlers.

    Raises:
        ValueError: if ``interval`` is less than 1.

    Example:
        >>> import tempfile
        >>> from types import SimpleNamespace
        >>> from medssl.networks.fpn import FPN
        >>> engine = Engine(lambda engine, batch: None)
        >>> engine.network = nn.Module()
        >>> engine.network.backbone = FPN(spatial_dims=2, base_channels=4, num_levels=2)
        >>> panels = ViewPanels(interval=1, log_dir=tempfile.mkdtemp())
        >>> panels.attach(engine)
        >>> view = torch.rand(1, 1, 16, 16)
        >>> _ = engine.run([{"view_1": view, "view_2": view}])
    """

    def __init__(self, interval: int, log_dir: str = "./runs", summary_writer: SummaryWriter | None = None) -> None:
        if interval < 1:
            raise ValueError(f"interval must be at least 1, got {interval}.")
        super().__init__(summary_writer=summary_writer, log_dir=log_dir)
        self.interval = interval

    def attach(self, engine: Engine) -> None:
        """Register with a trainer whose ``network`` is a method or has one as ``method``."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)
        engine.add_event_handler(Events.COMPLETED, self.close)

    def __call__(self, engine: Engine) -> None:
        """Write the picture of the current batch."""
        network = engine.network.module if isinstance(engine.network, DistributedDataParallel) else engine.network
        method = network.method if isinstance(getattr(network, "method", None), nn.Module) else network
        figure = panel_figure(view_pictures(method, engine.state.batch))
        self._writer.add_figure("views", figure, engine.state.iteration)
        self._writer.flush()


def view_pictures(method: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return the pictures of the first sample of a batch, by title: centre slices along the last axis in 3D.

    View 1 and view 2; with ``clean_1`` the patch before augmentation; with a ``restoration_head`` in the method what
    ``method.restore`` makes of view 1; and the embeddings of view 1 as colours (`principal_colours`).

    Args:
        method: has ``backbone``, which gives a pyramid with halving levels.
        batch: has ``view_1`` and ``view_2`` of shape ``(B, C, *spatial)``, on any device.

    Returns:
        Arrays of shape ``(H, W)``, first channel, or ``(H, W, 3)`` in [0, 1].
    """
    device = next(method.parameters()).device
    view = convert_to_tensor(batch["view_1"][:1], device=device)
    pictures = {"view 1": batch["view_1"], "view 2": batch["view_2"]}
    if "clean_1" in batch:
        pictures["clean patch 1"] = batch["clean_1"]
    with evaluating(method):
        # Projected levels of a `BalancedPyramid` serve pretraining; these are the features that are transferred.
        pyramid = method.backbone(view)
        if getattr(method, "restoration_head", None) is not None:
            pictures["restoration 1"] = method.restore(pyramid)
        colours = principal_colours(dense_embeddings(centre_slices(pyramid))[0])
    grey = {title: _centre(convert_to_tensor(images[:1]))[0, 0] for title, images in pictures.items()}
    arrays = {title: image.detach().cpu().float().numpy() for title, image in grey.items()}
    return {**arrays, "embeddings 1": colours.movedim(0, -1).numpy()}


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Switch a network to evaluation without gradients, and every module of it back to its own mode.

    MONAI's `eval_mode` returns all modules to the mode of the outermost, a frozen teacher included.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def centre_slices(pyramid: list[Tensor]) -> list[Tensor]:
    """Return the pyramid of the centre slice along the last axis: 2D maps of a 3D pyramid, a 2D one as it is.

    Example:
        >>> pyramid = [torch.zeros(1, 4, 8, 8, 6), torch.zeros(1, 8, 4, 4, 3)]
        >>> [tuple(level.shape) for level in centre_slices(pyramid)]
        [(1, 4, 8, 8), (1, 8, 4, 4)]
    """
    if pyramid[0].dim() == 4:
        return pyramid
    centre = pyramid[0].shape[-1] // 2
    return [level[..., centre // 2**i] for i, level in enumerate(pyramid)]


def _centre(images: Tensor) -> Tensor:
    return centre_slices([images])[0]


def panel_figure(pictures: Mapping[str, np.ndarray]) -> Figure:
    """Return a figure with the pictures side by side under their titles.

    Grey pictures are shown from 0 to 1, the range of preprocessed images, so that changes of intensity between them
    are seen; the first axis points right and the second up.

    Args:
        pictures: arrays of shape ``(H, W)`` or ``(H, W, 3)`` in [0, 1], by title.

    Example:
        >>> figure = panel_figure({"view 1": np.zeros((8, 8)), "embeddings 1": np.zeros((8, 8, 3))})
        >>> [axes.get_title() for axes in figure.axes]
        ['view 1', 'embeddings 1']
    """
    figure = Figure(figsize=(2.2 * len(pictures), 2.5), dpi=100, layout="constrained")
    for i, (title, picture) in enumerate(pictures.items(), start=1):
        axes = figure.add_subplot(1, len(pictures), i)
        axes.imshow(picture.swapaxes(0, 1), origin="lower", cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return figure
