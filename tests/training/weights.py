"""Weights of a small network, the same each time, for optimizers."""

import numpy as np
import torch
from torch import Tensor

SHAPES = ((6, 3, 3, 3), (6,), (5, 6), (5,))


def start(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    rng = np.random.default_rng(0)
    return [
        torch.tensor(rng.standard_normal(shape), dtype=dtype, requires_grad=True)
        for shape in SHAPES
    ]
