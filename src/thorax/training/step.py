"""One update of the weights, however the global batch is shared and cut."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from thorax.data.loader import Batch
from thorax.images.preprocess import InputSpec
from thorax.training import parallel
from thorax.training.ema import Average
from thorax.training.losses import masked_bce
from thorax.training.networks import Classifier, normalise
from thorax.training.parallel import Ranks
from thorax.training.preemption import Stop
from thorax.training.sam import Ascent


class RunningStatistics:
    """The running means and variances of all batch normalisations of a network.

    Every group of images that passes the network together is normalised by its own statistics, as
    large-batch training wants it (Goyal et al., 1706.02677, section 2.3: keep the group's size).
    The running mean and variance of a step are the means over its groups, on one rank or on many;
    the variance of a group is the unbiased one, so their mean needs no correction.
    """

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


@dataclass(frozen=True, slots=True, eq=False)
class Trainer:
    """A network and what changes it.

    Attributes:
        network: the weights.
        exchanged: the same network, whose backward pass leaves the mean gradient of all ranks.
        optimizer: turns gradients into updates.
        statistics: running statistics of the network's batch normalisations.
        ascent: sharpness-aware minimisation, None = off.
        average: averaged weights, None = off.
        ranks: who trains.
        spec: side and normalisation of the images.
        bf16: whether convolutions are computed in bfloat16, else float32.
        micro_batch: images that pass the network together, on each rank.
        smoothing: of the labels, 0 to below 1.
        stop: a wish to end early, which travels with the loss.
    """

    network: Classifier
    exchanged: nn.Module
    optimizer: torch.optim.Optimizer
    statistics: RunningStatistics
    ascent: Ascent | None
    average: Average | None
    ranks: Ranks
    spec: InputSpec
    device: torch.device
    bf16: bool
    micro_batch: int
    smoothing: float
    stop: Stop = field(default_factory=Stop)

    def update(self, batch: Batch, rate: float, step: int) -> float:
        """Take a step and return the loss before it, nats.

        It is the mean over the known labels of the global batch, the same on every rank. `step` are
        the updates done before.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        groups = list(self._groups(batch))
        losses = []
        with self.statistics.step(len(groups)):
            for number, (images, labels) in enumerate(groups):
                last = number == len(groups) - 1
                losses.append(self._group(images, labels, batch.known, exchange=last))
                self.statistics.next_group(len(groups))
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network, step)
        own = sum(loss.item() for loss in losses)
        loss, wishes = self.ranks.totals([own, float(self.stop.reason is not None)])
        self.stop.agreed = wishes > 0
        return loss

    def finite(self) -> bool:
        """Tell whether all weights are numbers; the same on every rank."""
        norms = torch._foreach_norm(list(self.network.parameters()))
        return bool(torch.stack(norms).isfinite().all())

    def logits(self, images: Tensor, network: nn.Module | None = None) -> Tensor:
        """Return logits [N,K] of uint8 [N,1,S,S], through another wrapping of the network."""
        prepared = normalise(images, self.spec).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return cast(Tensor, (network or self.network)(prepared))

    def warm_up(self, side: int) -> None:
        """Pass nothing through forwards and backwards, and change nothing.

        After its first backward pass DDP orders its buckets anew, and with them the order of its
        sums. Done before the first update, a resumed run adds up as one that was not stopped.
        """
        if self.exchanged is self.network:
            return
        shape = (self.micro_batch, 1, side, side)
        images = torch.zeros(shape, dtype=torch.uint8, device=self.device)
        with self.statistics.frozen(), parallel.watched(self.ranks):
            (self.logits(images, self.exchanged).sum() * 0.0).backward()  # type: ignore[no-untyped-call]
        self.optimizer.zero_grad(set_to_none=True)

    def merge(self) -> None:
        """Give all ranks the mean of their running statistics."""
        self.ranks.average(self.own())

    def own(self) -> list[Tensor]:
        """Return what each rank has of its own: running statistics, and the averages of them."""
        if self.average is None:
            return self.statistics.tensors
        averages = self.average.tensors()
        names = [name for name, _ in self.network.named_buffers() if name in averages]
        return [*self.statistics.tensors, *(averages[name] for name in names)]

    def _groups(self, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
        images, labels = torch.from_numpy(batch.images), torch.from_numpy(batch.labels)
        if self.device.type == "cuda":
            images = images.pin_memory().to(self.device, non_blocking=True)
            labels = labels.pin_memory().to(self.device, non_blocking=True)
        for first in range(0, len(images), self.micro_batch):
            part = slice(first, first + self.micro_batch)
            yield images[part], labels[part]

    def _group(self, images: Tensor, labels: Tensor, known: int, *, exchange: bool) -> Tensor:
        """Add a group's gradient and return its part of the loss."""

        def loss_of(network: nn.Module) -> Tensor:
            logits = self.logits(images, network)
            return masked_bce(logits, labels, known=known, smoothing=self.smoothing)

        with nullcontext() if exchange else parallel.alone(self.exchanged):
            if self.ascent is None:
                loss = loss_of(self.exchanged)
                self._backward(loss)
                return loss.detach()
            # Each group climbs by its own gradient, which needs no exchange and makes the result
            # the same on any number of ranks (m-sharpness: Foret et al., 2010.01412, section 4.1).
            loss = loss_of(self.network)
            parameters = list(self.network.parameters())
            sums = [parameter.grad for parameter in parameters]
            own = torch.autograd.grad(loss, parameters)
            for parameter, gradient in zip(parameters, own, strict=True):
                parameter.grad = gradient
            self.ascent.climb(self.network)
            for parameter, before in zip(parameters, sums, strict=True):
                parameter.grad = before
            with self.statistics.frozen():
                self._backward(loss_of(self.exchanged))
            self.ascent.descend()
            return loss.detach()

    def _backward(self, loss: Tensor) -> None:
        # DDP takes the mean over the ranks, and the loss of the whole batch is their sum.
        (loss * self.ranks.world).backward()  # type: ignore[no-untyped-call]
