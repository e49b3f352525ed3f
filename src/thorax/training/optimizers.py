"""Optimizers, and which parameters decay.

Weight decay never touches parameters of one dimension (biases, batch normalisation): excluding
them is the biggest single lever of large-batch accuracy (PaddlePaddle #26733).
"""

from typing import Annotated, Any, Literal, assert_never

import torch
from pydantic import Field
from torch import nn

from thorax.config import Settings
from thorax.training.lamb import LAMB as LAMB
from thorax.training.lamb import Lamb as Lamb
from thorax.training.lamb import Moments
from thorax.training.lars import LARS as LARS
from thorax.training.lars import Lars as Lars


class Sgd(Settings):
    """Stochastic gradient descent with momentum, v = m v + g; w -= lr v."""

    kind: Literal["sgd"]
    """Name of the optimizer."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """m, 0 to below 1."""
    nesterov: bool = True
    """Look one step ahead (Sutskever et al., ICML 2013)."""
    weight_decay: float = Field(default=1e-4, ge=0, le=1e6)
    """Added to the gradient as weight_decay * w, 0 to 1e6."""


class Adam(Moments):
    """Adam (1412.6980); weight decay is added to the gradient."""

    kind: Literal["adam"]
    """Name of the optimizer."""
    weight_decay: float = Field(default=0.0, ge=0, le=1e6)
    """Added to the gradient as weight_decay * w, 0 to 1e6."""


class AdamW(Moments):
    """Adam with decoupled weight decay (1711.05101)."""

    kind: Literal["adamw"]
    """Name of the optimizer."""
    weight_decay: float = Field(default=0.05, ge=0, le=1e6)
    """Weights shrink by lr * weight_decay a step, 0 to 1e6."""


OptimizerSettings = Annotated[Sgd | Adam | AdamW | Lars | Lamb, Field(discriminator="kind")]


def build(network: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Return an optimizer whose learning rate is 0 until a schedule sets it.

    The first parameter group decays, the second (one dimension or none) does not, nor is its step
    scaled by a trust ratio. Nesterov's step without momentum is the plain one.
    """
    groups: list[dict[str, Any]] = [
        {
            "params": [p for p in network.parameters() if p.ndim > 1],
            "weight_decay": settings.weight_decay,
        },
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    match settings:
        case Sgd(momentum=momentum, nesterov=nesterov):
            return torch.optim.SGD(
                groups, lr=0.0, momentum=momentum, nesterov=nesterov and momentum > 0
            )
        case Adam(beta1=beta1, beta2=beta2):
            return torch.optim.Adam(groups, lr=0.0, betas=(beta1, beta2))
        case AdamW(beta1=beta1, beta2=beta2):
            return torch.optim.AdamW(groups, lr=0.0, betas=(beta1, beta2))
        case Lars():
            nesterov = settings.nesterov and settings.momentum > 0
            return LARS(groups, 0.0, settings.model_copy(update={"nesterov": nesterov}))
        case Lamb():
            return LAMB(groups, 0.0, settings)
    assert_never(settings)
