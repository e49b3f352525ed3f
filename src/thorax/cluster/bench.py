"""One rank's turn of computing, exchanging and waiting; every rank takes it at the same time."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from thorax.labels import NIH14
from thorax.training import networks, parallel
from thorax.training.losses import masked_bce
from thorax.training.parallel import Parallel, Ranks
from thorax.training.prepare import uses_bf16
from thorax.training.recipe import Recipe

SIZES: Final = tuple(4**power for power in range(1, 14))
"""Bytes of the all-reduces, 4 B to 64 MiB."""
PING_BYTES: Final = 1 << 20
"""Of the message that tells a link's rate."""
_SMALL_BYTES: Final = 1 << 16
_MANY: Final = 10
"""Repetitions of what takes less than a clock can see well."""
_FEW: Final = 2


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured, and what is expected from it.

    Attributes:
        topology, output_stride, width: of the network.
        images: of a measured pass on a rank.
        side: of the images, pixels.
        batch, micro_batch, device, threads: as of a recipe; None = `images` of every rank, a
            rank's whole share, or its share of the host.
        bf16: whether convolutions are computed in bfloat16.
        parallel: how gradients are exchanged.
    """

    topology: str = "resnet50"
    output_stride: int = 32
    width: float = 1.0
    images: int = 4
    side: int = 224
    batch: int | None = None
    micro_batch: int | None = None
    bf16: bool = False
    device: str = "cpu"
    threads: int | None = None
    parallel: Parallel = field(default_factory=Parallel)


def work_of(recipe: Recipe, *, images: int, side: int) -> Work:
    """Return what a recipe does, measured on `images` images at a time."""
    training = recipe.training
    return Work(
        topology=recipe.network.topology,
        output_stride=recipe.network.output_stride,
        width=recipe.network.width,
        images=images,
        side=side,
        batch=training.batch,
        micro_batch=training.micro_batch,
        bf16=uses_bf16(recipe, torch.device(training.device)),
        device=training.device,
        threads=training.threads,
        parallel=recipe.parallel,
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """What one rank saw in one turn.

    Attributes:
        forward_s: of the forward pass.
        backward_s: of the backward pass, gradients kept to itself.
        wait_s: for the others to have done as much.
        step_s: of both passes with the exchange of gradients.
        all_reduce_s: of one message of each of `SIZES`.
        pings: pairs this rank leads: seconds one way of 4 bytes and of 1 MiB.
    """

    forward_s: float
    backward_s: float
    wait_s: float
    step_s: float
    all_reduce_s: tuple[float, ...]
    pings: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Bench:
    """A rank's network and messages, made once.

    Attributes:
        work: what is measured.
        ranks: who takes part.
        network: exchanges its gradients unless told not to.
        images: float32 [N,1,S,S].
        labels: int8 [N,K].
        message: float32, as many as the largest all-reduce takes.
        gradient_bytes: that every rank sends an update; PowerSGD's until it begins.
    """

    work: Work
    ranks: Ranks
    network: nn.Module
    images: Tensor
    labels: Tensor
    message: Tensor
    gradient_bytes: int

    @classmethod
    def prepare(cls, work: Work, ranks: Ranks) -> "Bench":
        """Build the network and the messages.

        Raises:
            UsageError: as `networks.build`.
        """
        network = networks.build(
            work.topology,
            classes=len(NIH14),
            output_stride=work.output_stride,
            width=work.width,
        )
        network.to(work.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        halved = work.parallel.compression in ("bf16", "fp16")
        size = sum(one.numel() for one in network.parameters()) * (2 if halved else 4)
        images = torch.zeros(work.images, 1, work.side, work.side, device=work.device)
        return cls(
            work,
            ranks,
            parallel.wrap(network, ranks, work.parallel, done=0),
            images.contiguous(memory_format=torch.channels_last),
            torch.zeros(work.images, len(NIH14), dtype=torch.int8, device=work.device),
            torch.zeros(SIZES[-1] // 4, device=work.device),
            size,
        )

    def turn(self) -> Turn:
        """Measure everything once."""
        self.ranks.barrier()
        with parallel.alone(self.network):
            forward_s, backward_s = self._passes()
        wait_s = self._timed(self.ranks.barrier)
        step = math.fsum(self._passes())
        if self.ranks.world == 1:
            return Turn(forward_s, backward_s, wait_s, step, (), ())
        return Turn(
            forward_s, backward_s, wait_s, step, tuple(map(self._all_reduce, SIZES)), self._pings()
        )

    def _passes(self) -> tuple[float, float]:
        self.network.zero_grad(set_to_none=True)
        begin = self._now_s()
        with torch.autocast(self.work.device, dtype=torch.bfloat16, enabled=self.work.bf16):
            logits = self.network(self.images)
        loss = masked_bce(logits, self.labels)
        middle = self._now_s()
        loss.backward()  # type: ignore[no-untyped-call]
        return middle - begin, self._now_s() - middle

    def _timed(self, act: Callable[[], None]) -> float:
        begin = self._now_s()
        act()
        return self._now_s() - begin

    def _now_s(self) -> float:
        """Return the time, all work that was begun being done."""
        if self.work.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def _all_reduce(self, size: int) -> float:
        part = self.message[: size // 4]
        repeat = _MANY if size <= _SMALL_BYTES else _FEW

        def act() -> None:
            for _ in range(repeat):
                dist.all_reduce(part)

        self.ranks.barrier()
        return self._timed(act) / repeat

    def _pings(self) -> tuple[tuple[float, float], ...]:
        """Return the pairs whose lower rank this is, and seconds one way of 4 B and of 1 MiB.

        Rank r exchanges with r + 1; at any time a rank is in one pair at most, so that no pair
        shares what it measures with another pair of the same rank.
        """
        rank, world = self.ranks.rank, self.ranks.world
        found = []
        for first in rounds(world):
            self.ranks.barrier()
            for low in first:
                high = (low + 1) % world
                if rank in (low, high):
                    short = self._ping(low, high, 4, _MANY)
                    long = self._ping(low, high, PING_BYTES, _FEW)
                    if rank == low:
                        found.append((short, long))
        return tuple(found)

    def _ping(self, low: int, high: int, size: int, repeat: int) -> float:
        part = self.message[: size // 4]

        def act() -> None:
            for _ in range(repeat):
                if self.ranks.rank == low:
                    dist.send(part, high)
                    dist.recv(part, high)
                else:
                    dist.recv(part, low)
                    dist.send(part, low)

        return self._timed(act) / (2 * repeat)


def rounds(world: int) -> list[list[int]]:
    """Return the lower ranks of the pairs of a ring, in rounds in which no rank is in two pairs."""
    if world == 2:
        # A ring of two has one link.
        return [[0]]
    even = list(range(0, world - 1, 2))
    odd = list(range(1, world - 1, 2))
    last = [world - 1]
    return [even, odd + last] if world % 2 == 0 else [even, odd, last]
