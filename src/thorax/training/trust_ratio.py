"""What LARS and LAMB share: whom an update adapts to, and norms of many layers at once.

A trust ratio sets the size of a layer's step by the size of its weights (You et al., 1708.03888).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from thorax.errors import UsageError

_PIECE: Final = 1 << 13
"""Elements whose squares are added in float32."""


class LayerWise(torch.optim.Optimizer):
    """Takes the parameters of a group apart; where `exclude_1d`, those of one dimension or none."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient, and return what the closure returned.

        Raises:
            UsageError: `sparse-gradient`.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameters in alike(group["params"]):
                flat = [p for p in parameters if group["exclude_1d"] and p.ndim <= 1]
                deep = [p for p in parameters if not (group["exclude_1d"] and p.ndim <= 1)]
                if flat:
                    self._move(flat, group, adapted=False)
                if deep:
                    self._move(deep, group, adapted=True)
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with arguments of their own.

        Raises:
            UsageError: `optimizer-argument`.
        """
        self._check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def _check(self, group: dict[str, Any]) -> None:
        """Refuse arguments that cannot be."""
        raise NotImplementedError

    def _move(self, parameters: list[Tensor], group: dict[str, Any], *, adapted: bool) -> None:
        """Move parameters of one device and dtype; only what is adapted decays and has a ratio."""
        raise NotImplementedError


def alike(parameters: Iterable[Tensor]) -> list[list[Tensor]]:
    """Return the parameters that have a gradient, in lists of one device and dtype.

    Raises:
        UsageError: `sparse-gradient`.
    """
    lists: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            raise UsageError(
                "sparse-gradient",
                f"a gradient of shape {tuple(parameter.shape)} is sparse; a trust ratio needs all "
                "of it: use dense gradients (sparse=False)",
            )
        lists.setdefault((parameter.device, parameter.dtype), []).append(parameter)
    return list(lists.values())


def gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of parameters that have one."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def norms(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Return the Euclidean norm of each tensor of one device and dtype.

    Returns:
        float32 [n], float64 for tensors of float64.
    """
    wide = torch.promote_types(tensors[0].dtype, torch.float32)
    if tensors[0].device.type != "cpu":
        return torch.stack(torch._foreach_norm(tensors, 2, dtype=wide))
    # On a CPU torch adds a layer's squares in a row: 1e-2 off for 16 million equal weights.
    pieces = [torch.split(_flat(tensor), _PIECE) for tensor in tensors]
    parts = torch._foreach_norm([piece for row in pieces for piece in row], 2, dtype=wide)
    counts = torch.tensor([len(row) for row in pieces])
    squares = torch.stack(parts).double().square()
    return torch.segment_reduce(squares, "sum", lengths=counts).sqrt().to(wide)


def _flat(tensor: Tensor) -> Tensor:
    """Return the elements as they lie in memory, which needs no copy of a dense tensor."""
    order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    return tensor.permute(order).reshape(-1)


def lars_ratio(
    weight: Tensor, gradient: Tensor, *, trust: float, decay: float, eps: float
) -> Tensor:
    """Return trust |w| / (|g| + decay |w| + eps), float [n] (You et al., 1708.03888, Algorithm 1).

    Of each layer are given the norms of its weights and of its gradient, float [n].
    """
    return _ratio_or_one(trust * weight / (gradient + decay * weight + eps), weight, gradient)


def lamb_ratio(weight: Tensor, move: Tensor) -> Tensor:
    """Return |w| / |u|, float [n], u the step that Adam would take (You et al., 1904.00962)."""
    return _ratio_or_one(weight / move, weight, move)


def _ratio_or_one(ratio: Tensor, *sizes: Tensor) -> Tensor:
    """Return trust ratios [n], 1 where one of the sizes [n] they were made of is 0."""
    nothing = torch.stack(sizes).amin(dim=0) == 0
    return torch.where(nothing, torch.ones_like(ratio), ratio)


def require(name: str, value: object, allowed: str, *, holds: bool) -> None:
    """Refuse an argument of an optimizer.

    Raises:
        UsageError: `optimizer-argument` unless it holds.
    """
    if not holds:
        raise UsageError("optimizer-argument", f"{name} is {value!r}; allowed is {allowed}")


def require_number(name: str, value: float, *, below: float = math.inf) -> None:
    """Refuse an argument that is not a number from 0 to below a limit.

    Raises:
        UsageError: `optimizer-argument`.
    """
    allowed = "0 or more" if math.isinf(below) else f"0 to below {below:g}"
    require(name, value, f"a number of {allowed}", holds=0 <= value < below)
