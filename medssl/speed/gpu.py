"""The settings of torch for training on a GPU."""

import torch


def tune_gpu(deterministic: bool = False) -> None:
    """Let a GPU choose the fastest kernels: TF32 for float32 matrix products, and convolutions tried out by cuDNN.

    Call it after `monai.utils.set_determinism`, which turns the trials off. They make two runs differ by rounding.

    Args:
        deterministic: True leaves the choice of convolutions as it is.

    Example:
        >>> tune_gpu()
        >>> torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32
        (True, True)
        >>> torch.backends.cudnn.benchmark = False
    """
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    if not deterministic:
        torch.backends.cudnn.deterministic = False
        torch.backends.cudnn.benchmark = True
