"""Running statistics of batch normalisation that do not depend on who computed which group.

Every group of images that passes the network together is normalised by its own statistics, as
large-batch training wants it (Goyal et al., 1706.02677, section 2.3: keep the group's size). The
running mean and variance of a step are the means over its groups, on one rank or on many; the
variance of a group is the unbiased one, so their mean needs no correction.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class RunningStatistics:
    """The running means and variances of all batch normalisations of a network."""

    def __init__(self, network: nn.Module) -> None:
        layers = [m for m in network.modules() if isinstance(m, _BatchNorm)]
        self.tensors: list[Tensor] = [
            tensor
            for layer in layers
            for tensor in (layer.running_mean, layer.running_var)
            if tensor is not None
        ]
        """float32, one entry a statistic; the network's own tensors."""
        self._counts = [m.num_batches_tracked for m in layers if m.num_batches_tracked is not None]

    @contextmanager
    def step(self, groups: int) -> Iterator[None]:
        """Let `groups` forward passes, each closed by `next_group`, count as one update."""
        if groups == 1 or not self.tensors:
            yield
            return
        self._before = [tensor.clone() for tensor in self.tensors]
        self._sum = [torch.zeros_like(tensor) for tensor in self.tensors]
        counts = [count.clone() for count in self._counts]
        yield
        torch._foreach_div_(self._sum, groups)
        torch._foreach_copy_(self.tensors, self._sum)
        if counts:
            torch._foreach_copy_(self._counts, [count + 1 for count in counts])

    def next_group(self, groups: int) -> None:
        """Close a group: its statistics are noted and the next begins where it began."""
        if groups > 1 and self.tensors:
            torch._foreach_add_(self._sum, self.tensors)
            torch._foreach_copy_(self.tensors, self._before)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Undo what forward passes change here."""
        before = [tensor.clone() for tensor in (*self.tensors, *self._counts)]
        try:
            yield
        finally:
            if before:
                torch._foreach_copy_([*self.tensors, *self._counts], before)
