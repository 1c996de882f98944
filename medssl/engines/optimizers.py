"""Parameter groups: with weight decay and without."""

from typing import Any

from torch import nn


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trainable parameters of a module in two groups for an optimizer, with weight decay and without.

    Biases, norms and all other vectors do not decay (BYOL, Grill et al., 2020, section 3.2; VICReg, Bardes et
    al., 2022, appendix C). ``pytorch_optimizer.LARS`` also updates vectors by plain SGD, without adapting their rate.

    Args:
        module: the module; parameters that need no gradient, such as a teacher's, are left out.
        weight_decay: weight decay of matrices and kernels.

    Returns:
        The groups ``matrices`` and ``vectors``, each with a ``name``, its ``params`` and its ``weight_decay``.

    Example:
        >>> groups = decay_groups(nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)), weight_decay=0.1)
        >>> [(group["name"], len(group["params"]), group["weight_decay"]) for group in groups]
        [('matrices', 1, 0.1), ('vectors', 3, 0.0)]
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"name": "matrices", "params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"name": "vectors", "params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
