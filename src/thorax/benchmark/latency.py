"""The quantiles of a run's latency."""

import numpy as np

from thorax.benchmark.loadgen import Run
from thorax.results.benchmark import Latency, Scenario


def latency_ms(scenario: Scenario, run: Run) -> Latency:
    """Return the quantiles of a run: offline of an inference, else as LoadGen counted them."""
    if scenario == "offline":
        # To LoadGen all images wait from the start: what one inference takes, only we know.
        taken_s = np.quantile(run.trace.done_s - run.trace.begun_s, [0.5, 0.9, 0.99])
    else:
        queries = scenario == "multi-stream"
        taken_s = np.array([run.percentile_s(part, queries=queries) for part in (50, 90, 99)])
    p50, p90, p99 = (taken_s * 1e3).tolist()
    return Latency(p50=p50, p90=p90, p99=p99)
