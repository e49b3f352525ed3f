"""LAMB: Adam whose every layer moves in proportion to its weights."""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from thorax.config import Settings
from thorax.training.trust_ratio import LayerWise, gradients, lamb_ratio, norms, require_number


class Moments(Settings):
    """What all forms of Adam remember."""

    kind: str
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Memory of the mean gradient, 0 to below 1."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Memory of the mean squared gradient, 0 to below 1."""


class Lamb(Moments):
    """Adam whose layers move in proportion to their weights (1904.00962), for large batches."""

    kind: Literal["lamb"]
    """Name of the optimizer."""
    eps: float = Field(default=1e-6, ge=0, le=1e6)
    """Keeps the update finite, 0 to 1e6."""
    weight_decay: float = Field(default=0.01, ge=0, le=1e6)
    """Added to the update as weight_decay * w, 0 to 1e6."""
    trust_ratio: bool = True
    """Scale each layer's step by its weights; false = AdamW."""


class LAMB(LayerWise):
    """Layer-wise Adam for large batches (You et al., 1904.00962, Algorithm 2, phi(x) = x).

    For each layer, with weights w, gradient g, weight decay d and step number k from 1:

        a = b1 a + (1 - b1) g;  b = b2 b + (1 - b2) g^2
        u = (a / (1 - b1^k)) / (sqrt(b / (1 - b2^k)) + eps) + d w
        w -= lr (|w| / |u|) u;  the ratio is 1 where |w| or |u| is 0

    Without the ratio it is AdamW. Gradients are read, never changed. Norms are computed in
    float32, float64 for weights of float64.

    Example:
        >>> LAMB(network.parameters(), 4e-3, Lamb(kind="lamb", weight_decay=0.01))
    """

    def __init__(
        self, params: Iterable[Any], lr: float, settings: Lamb, *, exclude_1d: bool = True
    ) -> None:
        """Take parameters, or groups of them with values of their own, `betas` b1 and b2.

        Parameters are tensors, named tensors or dicts, as any optimizer of torch takes them, the
        learning rate is 0 or more; `exclude_1d` gives parameters of one dimension or none (biases,
        batch normalisation) the ratio 1 and d = 0.

        Raises:
            UsageError: `optimizer-argument`.
        """
        defaults = settings.model_dump(include={"eps", "weight_decay", "trust_ratio"})
        betas = (settings.beta1, settings.beta2)
        super().__init__(params, {"lr": lr, "betas": betas, **defaults, "exclude_1d": exclude_1d})

    def _check(self, group: dict[str, Any]) -> None:
        for name in ("lr", "weight_decay", "eps"):
            require_number(name, group[name])
        for beta in group["betas"]:
            require_number("betas", beta, below=1.0)

    def _move(self, parameters: list[Tensor], group: dict[str, Any], *, adapted: bool) -> None:
        decay = group["weight_decay"] if adapted else 0.0
        beta1, beta2 = group["betas"]
        states = [self._state(parameter) for parameter in parameters]
        means = [state["exp_avg"] for state in states]
        squares = [state["exp_avg_sq"] for state in states]
        steps = [state["step"] for state in states]
        slopes = gradients(parameters)
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(means, slopes, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, slopes, slopes, value=1 - beta2)
        counts = [step.item() for step in steps]
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, [(1 - beta2**count) ** 0.5 for count in counts])
        torch._foreach_add_(roots, group["eps"])
        torch._foreach_mul_(roots, [1 - beta1**count for count in counts])
        moves = torch._foreach_div(means, roots)
        if decay:
            torch._foreach_add_(moves, parameters, alpha=decay)
        if adapted and group["trust_ratio"]:
            ratio = lamb_ratio(norms(parameters), norms(moves))
            torch._foreach_mul_(moves, list(ratio.unbind()))
        torch._foreach_add_(parameters, moves, alpha=-group["lr"])

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            # The count stays on the CPU: reading it must not wait for an accelerator.
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state
