"""LARS: stochastic gradient descent whose every layer moves in proportion to its weights."""

from collections.abc import Iterable
from typing import Any, Final, Literal, TypedDict, Unpack, get_args

import torch
from torch import Tensor

from thorax.training.trust_ratio import (
    LayerWise,
    gradients,
    lars_ratio,
    norms,
    require,
    require_number,
)

MomentumStyle = Literal["paper", "torch"]


class LarsArguments(TypedDict, total=False):
    """What LARS takes beside parameters and learning rate; see `thorax.training.optimizers.Lars`.

    The paper's momentum keeps the learning rate inside v, as below; torch's outside:
    v = m v + t (g + d w); w -= lr v. They differ while the rate changes. Correction multiplies the
    paper's v by lr_new / lr_old whenever the rate changes (Goyal et al., 1706.02677, section 3,
    remark 2).
    """

    momentum: float
    weight_decay: float
    trust_coefficient: float
    eps: float
    nesterov: bool
    momentum_style: MomentumStyle
    momentum_correction: bool
    exclude_1d: bool
    """Parameters of one dimension or none (biases, batch normalisation) get t = 1 and d = 0."""


_DEFAULTS: Final[LarsArguments] = {
    "momentum": 0.9,
    "weight_decay": 0.0,
    "trust_coefficient": 0.001,
    "eps": 1e-7,
    "nesterov": False,
    "momentum_style": "paper",
    "exclude_1d": True,
    "momentum_correction": False,
}


class LARS(LayerWise):
    """Layer-wise adaptive rate scaling (You et al., 1708.03888, Algorithm 1).

    The arithmetic is that of MLPerf's TensorFlow 2 reference for ResNet-50. For each layer, with
    weights w, gradient g, weight decay d and trust coefficient c:

        t = c |w| / (|g| + d |w| + eps);  1 where |w| or |g| is 0
        v = m v - lr t (g + d w)
        w += v                            Nesterov: w += m v - lr t (g + d w)

    A trust coefficient of 0 means no trust ratio: t = 1, momentum SGD. Gradients are read, never
    changed. Norms are computed in float32, float64 for weights of float64.

    Example:
        >>> LARS(network.parameters(), lr=10.5, weight_decay=5e-5, momentum=0.9)
    """

    def __init__(
        self, params: Iterable[Any], lr: float, **arguments: Unpack[LarsArguments]
    ) -> None:
        """Take parameters, or groups of them with arguments of their own.

        Parameters are tensors, named tensors or dicts, as any optimizer of torch takes them, the
        learning rate 0 or more, and arguments what else is not as in `LarsArguments`.

        Raises:
            UsageError: `optimizer-argument`.
        """
        super().__init__(params, {"lr": lr, **_DEFAULTS, **arguments})

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
