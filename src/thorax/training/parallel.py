"""Data-parallel ranks: one process is the same code with a world of one.

`torchrun` starts the processes and sets RANK, WORLD_SIZE and so on; `join` makes them one group,
gloo between processors and nccl between GPUs. Gradients are averaged in buckets while the backward
pass still runs (PyTorch DDP; Li et al., 2006.15704). Everything here is a collective: every rank
calls it, in the same order.
"""

import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Literal, TypeVar, cast

import torch
import torch.distributed as dist

# Its functions take the group of the moment as a default, and DDP imports it once there is one:
# the group then outlives `destroy_process_group`, and its threads a rank that ends, which aborts.
import torch.distributed.nn.functional
from pydantic import Field
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.distributed.distributed_c10d import ProcessGroup, _set_pg_timeout
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from thorax.config import Settings
from thorax.errors import DeviceError, PeerError, ThoraxError, UsageError
from thorax.training.launch import Launched, read_launcher, require_interfaces

T = TypeVar("T")

_PATIENCE: Final = timedelta(minutes=10)
"""How long the first rank of a group waits for the last: hosts do not start at once."""
_LOOK_S: Final = 0.02
"""Between two looks of the lead at who has come."""
_LOSS: Final = re.compile(r"gloo|connection (closed|reset)|socket|peer|timed out", re.IGNORECASE)
"""What gloo's errors, plain RuntimeErrors, say when a rank is gone."""
_PLACE: Final = re.compile(r"^\[[^]]*\.(cc|cpp|h):\d+\]\s*")
"""The place in a source file that gloo puts before its words."""
_FP16_SMALLEST_NORMAL: Final = 2.0**-14
_FP16_SMALLEST: Final = 2.0**-24


class Parallel(Settings):
    """How ranks exchange gradients; one process ignores it."""

    compression: Literal["none", "bf16", "fp16", "powersgd"] = "none"
    """What travels: the gradients as they are, rounded to 16 bits, or as low-rank factors."""
    bucket_mb: float = Field(default=25.0, ge=1e-3, le=65_536.0)
    """Gradients sent together, 0.001 to 65,536 MiB; small begins early, large wastes less on
    latency."""
    powersgd_rank: int = Field(default=1, ge=1, le=4096)
    """Rank of the factors of PowerSGD (1905.13727), 1 to 4,096."""
    powersgd_start: int = Field(default=1000, ge=2, le=1 << 31)
    """Updates sent whole before PowerSGD begins, 2 to 2**31, and not fewer than the warm-up."""
    timeout_s: float = Field(default=600.0, ge=1.0, le=2_592_000.0)
    """Seconds a rank waits for the others in one exchange before it gives the run up, 1 to 30 days:
    longer than the slowest validation or checkpoint, shorter than a night lost to a dead cable."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of the run.

    Attributes:
        rank: number of this process, 0 is the lead: it alone writes and speaks.
        world: processes in all.
        local_rank: number of this process on its host.
        local_world: processes on this host.
        backend: "gloo", "nccl", or None for one process that nobody launched.
        restarts: times the launcher started the run anew after a loss, the largest of all hosts.
        launch: a name for this job, the same after each restart by its launcher, None without.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    backend: str | None = None
    restarts: int = 0
    launch: str | None = None

    @property
    def lead(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Return what every rank holds, in the order of ranks."""
        if self.backend is None:
            return [value]
        values: list[T | None] = [None] * self.world
        with watched(self):
            dist.all_gather_object(values, value)
        return cast(list[T], values)

    def broadcast(self, value: T) -> T:
        """Return the lead's value on every rank."""
        if self.backend is None:
            return value
        box = [value]
        with watched(self):
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def from_lead(self, act: Callable[[], T]) -> T:
        """Do something on the lead alone and return what it gave on every rank.

        Raises:
            ThoraxError: what it raised there; `rank-refused` on the others.
        """
        return cast(T, self.broadcast(self.agree(lambda: act() if self.lead else None)))

    def barrier(self) -> None:
        """Wait for all."""
        if self.backend is not None:
            with watched(self):
                dist.barrier()

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace float tensors by their mean over the ranks, in place, with one all-reduce."""
        if self.backend is None or self.world == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with watched(self):
            dist.all_reduce(flat)
        flat /= self.world
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def totals(self, values: Sequence[float]) -> list[float]:
        """Return the sums of what every rank holds, in float64, with one all-reduce."""
        if self.backend is None or self.world == 1:
            return list(values)
        device = f"cuda:{self.local_rank}" if self.backend == "nccl" else "cpu"
        sums = torch.tensor(values, dtype=torch.float64, device=device)
        with watched(self):
            dist.all_reduce(sums)
        return [float(value) for value in sums.tolist()]

    def agree(self, act: Callable[[], T]) -> T:
        """Do what may be refused on every rank; one rank refused, none goes on.

        Raises:
            ThoraxError: that of the lowest rank that was refused, on that rank.
            PeerError: `rank-refused` on the others, whose word nobody needs.
        """
        result, error = None, None
        try:
            result = act()
        except ThoraxError as caught:
            error = caught
        refused = [
            rank for rank, code in enumerate(self.gather(error and error.code)) if code is not None
        ]
        if not refused:
            return cast(T, result)
        if error is not None and self.rank == refused[0]:
            raise error
        raise PeerError("rank-refused", f"rank {refused[0]} was refused and says why") from error


@contextmanager
def join(device: str, timeout_s: float = 600.0) -> Iterator[Ranks]:
    """Enter the group that the launcher made; without a launcher there is one process.

    A device is "cpu" or "cuda", which decides the backend; one exchange may take `timeout_s`, a
    group longer to form.

    Raises:
        UsageError: `launcher` when its variables are missing in part, or cannot be.
        DeviceError: `device-absent` when a rank has no GPU.
        PeerError: `rank-lost` when the others cannot be reached.
    """
    # A single process under torchrun still joins, so that its restarts are counted.
    launched = read_launcher()
    if launched is None:
        yield Ranks()
        return
    rank, world = launched.rank, launched.world
    backend = "nccl" if device == "cuda" else "gloo"
    require_interfaces(backend)
    if backend == "nccl":
        require_gpu(rank, launched.local_rank)
        torch.cuda.set_device(launched.local_rank)
    ranks = Ranks(rank, world, launched.local_rank, launched.local_world, backend)
    with watched(ranks):
        store = _meet(launched)
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=world, timeout=_PATIENCE
        )
        # No public way sets one timeout for joining and another for exchanging.
        _set_pg_timeout(timedelta(seconds=timeout_s), cast(ProcessGroup, dist.group.WORLD))
    try:
        restarts = max(ranks.gather(launched.restarts))
        # Without a name for the job there is but one host, and its launcher is our parent.
        launch = launched.job or f"launcher {os.getppid()}"
        yield replace(ranks, restarts=restarts, launch=launch)
    finally:
        dist.destroy_process_group()


def require_gpu(rank: int, local_rank: int) -> None:
    """Refuse a rank without a GPU of its own.

    Raises:
        DeviceError: `device-absent`.
    """
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise DeviceError(
            "device-absent",
            f"training.device is cuda and rank {rank} would be on GPU {local_rank}, but there are "
            f"{count} here; start fewer ranks, or set cpu",
        )


def _meet(launched: Launched) -> Store:
    """Return the launcher's store under a name that no earlier start of the ranks has used.

    torchrun keeps one store while it starts ranks anew, so that it still holds the addresses of
    those that are gone, and gloo waits for them. The lead therefore gives every rank that greets
    it a new name, until each has come back under it.

    Raises:
        UsageError: `launcher` when the port is in use.
        RuntimeError: when a rank does not come in time.
    """
    rank, world = launched.rank, launched.world
    try:
        store, _, _ = next(rendezvous("env://", timeout=_PATIENCE))
    except dist.DistNetworkError as error:
        if "EADDRINUSE" not in str(error):
            raise
        raise UsageError(
            "launcher",
            f"MASTER_PORT is {launched.port}, and port {launched.port} is in use on this host; "
            "give another, or end the program that listens there",
        ) from error
    own = uuid.uuid4().hex
    if rank:
        store.set(f"thorax/hello/{rank}", own)
        name = store.get(f"thorax/welcome/{own}").decode("ascii")
        store.set(f"thorax/{name}/{rank}", "here")
        return PrefixStore(name, store)
    missing = set(range(1, world))
    deadline = time.monotonic() + _PATIENCE.total_seconds()
    while missing:
        for other in sorted(missing):
            if store.check([f"thorax/{own}/{other}"]):
                missing.discard(other)
            elif store.check([f"thorax/hello/{other}"]):
                # It may be the greeting of one that is gone: then the living one follows.
                greeting = store.get(f"thorax/hello/{other}").decode("ascii")
                store.set(f"thorax/welcome/{greeting}", own)
        if time.monotonic() > deadline:
            absent = ", ".join(map(str, sorted(missing)[:8]))
            raise dist.DistError(f"timed out waiting for rank {absent}")
        time.sleep(_LOOK_S)
    return PrefixStore(own, store)


def check(settings: Parallel, ranks: Ranks, *, warmup_steps: int, steps: int) -> list[str]:
    """Return warnings about the exchange of gradients, none for one process.

    Raises:
        UsageError: `powersgd-start` when compression would begin within the warm-up.
    """
    if ranks.world == 1:
        return []
    match settings.compression:
        case "fp16":
            # The hook divides by the world before it sums (it fears the overflow).
            return [
                f"fp16 over {ranks.world} ranks rounds gradients below "
                f"{_FP16_SMALLEST_NORMAL * ranks.world:.1g} coarsely and drops those below "
                f"{_FP16_SMALLEST * ranks.world:.1g}; parallel.compression = bf16 keeps "
                "their range, with three bits fewer"
            ]
        case "powersgd":
            if settings.powersgd_start < warmup_steps:
                raise UsageError(
                    "powersgd-start",
                    f"parallel.powersgd_start is {settings.powersgd_start}, within the warm-up of "
                    f"{warmup_steps} updates, whose gradients change too fast; raise it to "
                    f"{warmup_steps} or more",
                )
            warnings = [
                "powersgd changes the result, and a run that is resumed differs from one that was "
                "not stopped: what it remembers of its errors is not saved"
            ]
            if settings.powersgd_start >= steps:
                warnings.append(
                    f"powersgd never begins: parallel.powersgd_start is {settings.powersgd_start} "
                    f"and the run has {steps} updates"
                )
            return warnings
    return []


def wrap(network: nn.Module, ranks: Ranks, settings: Parallel, *, done: int) -> nn.Module:
    """Return a network whose backward pass leaves the mean gradient of all ranks.

    Buffers are not exchanged: each rank normalises by its own batches, `average` merges them. After
    `done` updates one backward pass without an update is expected before the next.
    """
    if ranks.backend is None or ranks.world == 1:
        return network
    devices = [ranks.local_rank] if ranks.backend == "nccl" else None
    with watched(ranks):
        wrapped = DistributedDataParallel(
            network,
            device_ids=devices,
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,
            bucket_cap_mb=cast(int, settings.bucket_mb),
        )
    match settings.compression:
        case "bf16":
            wrapped.register_comm_hook(dist.group.WORLD, _in_bf16)
        case "fp16":
            wrapped.register_comm_hook(dist.group.WORLD, default_hooks.fp16_compress_hook)
        case "powersgd":
            state = powerSGD_hook.PowerSGDState(
                dist.group.WORLD,
                matrix_approximation_rank=settings.powersgd_rank,
                # It counts from 0 and counts the pass without an update, too.
                start_powerSGD_iter=max(1, settings.powersgd_start - done) + 1,
            )
            wrapped.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    return wrapped


def _in_bf16(
    group: dist.ProcessGroup,
    bucket: dist.GradBucket,  # type: ignore[name-defined]
) -> torch.futures.Future[Tensor]:
    # DDP knows torch's hook by its name and refuses it without NCCL, though gloo sums bfloat16.
    return default_hooks.bf16_compress_hook(group, bucket)


def alone(network: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which gradients are added up and not exchanged."""
    if isinstance(network, DistributedDataParallel):
        return cast(AbstractContextManager[None], network.no_sync())
    return nullcontext()


@contextmanager
def watched(ranks: Ranks) -> Iterator[None]:
    """Say the loss of another rank in our words, in whichever exchange it is noticed.

    Raises:
        PeerError: `rank-lost`.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not _LOSS.search(str(error)):
            raise
        first = next(iter(str(error).splitlines()), type(error).__name__)
        reason = _PLACE.sub("", first).partition(". ")[0][:200]
        raise PeerError(
            "rank-lost",
            f"rank {ranks.rank} of {ranks.world} lost the others: {reason}; start the run again "
            "with --resume, or under torchrun with --max-restarts",
        ) from error
