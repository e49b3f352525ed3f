"""Quantiles of latency: p50, p90 and p99 of what a run answered."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from thorax.benchmark.loadgen import Run


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of a latency, seconds."""

    p50: float
    p90: float
    p99: float


def quantiles_of(scenario: str, run: "Run") -> Quantiles:
    """Return the quantiles of a run: offline of an inference, else as LoadGen counted them."""
    if scenario == "offline":
        # To LoadGen all images wait from the start: what one inference takes, only we know.
        taken = run.trace.done_s - run.trace.begun_s
        return Quantiles(*(float(value) for value in np.quantile(taken, [0.5, 0.9, 0.99])))
    queries = scenario == "multi-stream"
    return Quantiles(*(run.percentile_s(percent, queries=queries) for percent in (50, 90, 99)))
