"""LARS: stochastic gradient descent whose every layer moves in proportion to its weights."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor

from thorax.config import Settings
from thorax.training.trust_ratio import (
    LayerWise,
    gradients,
    lars_ratio,
    norms,
    require,
    require_number,
)

MomentumStyle = Literal["paper", "torch"]


class Lars(Settings):
    """SGD whose layers move in proportion to their weights (1708.03888), for large batches."""

    kind: Literal["lars"]
    """Name of the optimizer."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """m, 0 to below 1."""
    nesterov: bool = False
    """Look one step ahead."""
    weight_decay: float = Field(default=1e-4, ge=0, le=1e6)
    """Added to the gradient as weight_decay * w, 0 to 1e6."""
    trust_coefficient: float = Field(default=0.001, ge=0, le=1e6)
    """Size of a layer's step relative to its weights, 0 to 1e6; 0 = plain SGD."""
    eps: float = Field(default=1e-7, ge=0, le=1e6)
    """Keeps the ratio of weight to gradient finite, 0 to 1e6."""
    momentum_style: MomentumStyle = "paper"
    """Learning rate inside the momentum (paper) or outside (torch)."""
    momentum_correction: bool = False
    """Rescale the paper's momentum whenever the learning rate changes (1706.02677, section 3)."""


class LARS(LayerWise):
    """Layer-wise adaptive rate scaling (You et al., 1708.03888, Algorithm 1).

    The arithmetic is that of MLPerf's TensorFlow 2 reference for ResNet-50. For each layer, with
    weights w, gradient g, weight decay d and trust coefficient c:

        t = c |w| / (|g| + d |w| + eps);  1 where |w| or |g| is 0
        v = m v - lr t (g + d w)
        w += v                            Nesterov: w += m v - lr t (g + d w)

    This is the paper's style of momentum; that of torch keeps the learning rate outside of v:
    v = m v + t (g + d w); w -= lr v. They differ while the rate changes. Correction multiplies the
    paper's v by lr_new / lr_old then (Goyal et al., 1706.02677, section 3, remark 2). A trust
    coefficient of 0 means no trust ratio: t = 1, momentum SGD. Gradients are read, never changed.
    Norms are computed in float32, float64 for weights of float64.

    Example:
        >>> LARS(network.parameters(), 10.5, Lars(kind="lars", weight_decay=5e-5))
    """

    def __init__(
        self, params: Iterable[Any], lr: float, settings: Lars, *, exclude_1d: bool = True
    ) -> None:
        """Take parameters, or groups of them with values of their own for what is set here.

        Parameters are tensors, named tensors or dicts, as any optimizer of torch takes them, the
        learning rate is 0 or more; `exclude_1d` gives parameters of one dimension or none (biases,
        batch normalisation) t = 1 and d = 0.

        Raises:
            UsageError: `optimizer-argument`.
        """
        defaults = settings.model_dump(exclude={"kind"})
        super().__init__(params, {"lr": lr, **defaults, "exclude_1d": exclude_1d})

    def _check(self, group: dict[str, Any]) -> None:
        for name in ("lr", "weight_decay", "trust_coefficient", "eps"):
            require_number(name, group[name])
        require_number("momentum", group["momentum"], below=1.0)
        style, styles = group["momentum_style"], get_args(MomentumStyle)
        momentum, corrected = group["momentum"], group["momentum_correction"]
        outside = "False where momentum_style is torch, whose momentum holds no learning rate"
        for name, allowed, holds in (
            ("momentum_style", " or ".join(styles), style in styles),
            ("nesterov", "False where momentum is 0", not group["nesterov"] or momentum > 0),
            ("momentum_correction", outside, not corrected or style == "paper"),
        ):
            require(name, group[name], allowed, holds=holds)

    def _move(self, parameters: list[Tensor], group: dict[str, Any], *, adapted: bool) -> None:
        trust = group["trust_coefficient"] if adapted else 0.0
        decay = group["weight_decay"] if adapted else 0.0
        rate, momentum = group["lr"], group["momentum"]
        # Correcting the paper's v for a change of the rate makes it lr times the v of torch's
        # style at every step; kept without the rate it needs no memory of the last one.
        inside = group["momentum_style"] == "paper" and not group["momentum_correction"]
        factor = -rate if inside else 1.0
        slopes = gradients(parameters)
        scales: list[Tensor] | float = factor
        if trust:
            weight, slope = norms(parameters), norms(slopes)
            ratio = lars_ratio(weight, slope, trust=trust, decay=decay, eps=group["eps"])
            scales = list((ratio * factor).unbind())
        moves: list[Tensor] | tuple[Tensor, ...]
        if decay:
            moves = torch._foreach_add(slopes, parameters, alpha=decay)
            torch._foreach_mul_(moves, scales)
        else:
            moves = torch._foreach_mul(slopes, scales)
        memories = [self._memory(parameter) for parameter in parameters]
        torch._foreach_mul_(memories, momentum)
        torch._foreach_add_(memories, moves)
        if group["nesterov"]:
            moves = torch._foreach_add(moves, memories, alpha=momentum)
        else:
            moves = memories
        torch._foreach_add_(parameters, moves, alpha=1.0 if inside else -rate)

    def _memory(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        memory: Tensor = state["momentum_buffer"]
        return memory
