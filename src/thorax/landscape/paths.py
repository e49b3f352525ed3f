"""The loss between and around trained networks: a line of two, a plane of random directions.

Running batch-norm statistics belong to the weights they were gathered with. On the line they are
shown both ways, interpolated like weights and estimated again on the training images; in the plane
they are estimated again at every point.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from thorax.errors import UsageError
from thorax.images.preprocess import InputSpec
from thorax.landscape.surface import Subset, estimate_batch_norm, judge
from thorax.results.landscape import LinePoint, Plane


def line(
    first: nn.Module,
    second: nn.Module,
    train: Subset,
    val: Subset,
    spec: InputSpec,
    *,
    points: int = 25,
    batch: int = 128,
    on_progress: Callable[[int], None] = lambda images: None,
) -> tuple[LinePoint, ...]:
    """Return the quality at a x2 + (1 - a) x1, a evenly from -1 to 2 (1609.04836, Figure 3).

    Neither network is changed. Both have the same topology. The training images are evaluated and
    statistics estimated on them, the validation images evaluated, `batch` images a pass;
    `on_progress` is told how many were gone through, five times a point.

    Raises:
        UsageError: `sharpness-topology`.
    """
    ends = [network.state_dict() for network in (first, second)]
    shapes = [{name: value.shape for name, value in end.items()} for end in ends]
    if shapes[0] != shapes[1]:
        raise UsageError(
            "sharpness-topology",
            "the two networks differ in their layers, so no line joins them; give two runs of one "
            "topology, output stride, width and label set",
        )
    moved = copy.deepcopy(first)
    passed: list[LinePoint] = []
    for a in np.linspace(-1.0, 2.0, points):
        moved.load_state_dict(_between(ends[0], ends[1], float(a)))
        interpolated = [judge(moved, subset, spec, batch=batch) for subset in (train, val)]
        estimate_batch_norm(moved, train, spec, batch=batch)
        passed.append(
            LinePoint(
                a=float(a),
                train=judge(moved, train, spec, batch=batch),
                val=judge(moved, val, spec, batch=batch),
                train_interpolated=interpolated[0],
                val_interpolated=interpolated[1],
            )
        )
        on_progress(3 * len(train) + 2 * len(val))
    return tuple(passed)


def plane(
    network: nn.Module,
    subset: Subset,
    spec: InputSpec,
    *,
    points: int = 21,
    seed: int = 0,
    batch: int = 128,
    on_progress: Callable[[int], None] = lambda images: None,
) -> Plane:
    """Return the loss around a network, which is not changed, on a grid from -1 to 1.

    It lies in the middle of so many points a side, in a plane of two directions that the seed
    draws. Statistics are estimated on the images that are evaluated, `batch` images a pass;
    `on_progress` is told how many were gone through, twice a point.
    """
    moved = copy.deepcopy(network)
    directions = [filter_direction(network, seed=2 * seed + number) for number in (0, 1)]
    offsets = np.linspace(-1.0, 1.0, points)
    rows = []
    for x in offsets:
        row = []
        for y in offsets:
            with torch.no_grad():
                for (name, weight), middle in zip(
                    moved.named_parameters(), network.parameters(), strict=True
                ):
                    step = float(x) * directions[0][name] + float(y) * directions[1][name]
                    weight.copy_(middle + step)
            estimate_batch_norm(moved, subset, spec, batch=batch)
            row.append(judge(moved, subset, spec, batch=batch).loss)
            on_progress(2 * len(subset))
        rows.append(tuple(row))
    return Plane(offsets=tuple(map(float, offsets)), loss=tuple(rows))


def filter_direction(network: nn.Module, *, seed: int) -> dict[str, Tensor]:
    """Return a random direction, each filter of which is as long as that of the network.

    d_ij <- d_ij / |d_ij| |w_ij| (Li et al., 1712.09913, section 4): rescaling a filter rescales its
    part of the direction. Rows of a linear layer are filters; biases and batch norm stay 0. It is
    drawn on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = {}
    for name, weight in network.named_parameters():
        drawn = torch.randn(weight.shape, generator=generator).to(weight.device)
        if weight.ndim <= 1:
            direction[name] = torch.zeros_like(drawn)
            continue
        inner = tuple(range(1, weight.ndim))
        lengths = torch.linalg.vector_norm(weight.detach(), dim=inner, keepdim=True)
        size = torch.linalg.vector_norm(drawn, dim=inner, keepdim=True)
        direction[name] = drawn / size * lengths
    return direction


def _between(first: dict[str, Tensor], second: dict[str, Tensor], a: float) -> dict[str, Tensor]:
    mixed = {}
    for name, value in first.items():
        if not value.is_floating_point():
            mixed[name] = value
            continue
        mixed[name] = a * second[name] + (1.0 - a) * value
        if name.endswith("running_var"):
            # Beyond the ends a variance may come out negative.
            mixed[name] = mixed[name].clamp(min=0.0)
    return mixed
