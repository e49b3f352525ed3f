"""Claim: the simulator of `thorax plan server` meets closed forms, where there are any, to 1%.

    python -m benchmarks.plan_closed_forms

A queue meets the goal if its error and half of its 95% interval are both within it, as a wider one
would be met by chance. About 12 minutes on one idle core; nothing is timed, so the result
does not depend on the machine.
"""

import argparse
import math
import statistics
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.figures_2018 import put
from benchmarks.harness.result import parse_args, table, write
from thorax.files.atomic import write_text
from thorax.plan.latency import lay_out, simulate_load
from thorax.plan.server import PRESETS, capacity, find_preset
from thorax.plan.simulation import Lane, Network, Visit, arrive, saturate, simulate
from thorax.results.plan import CpuRole

PAGE: Final = Path(__file__).parents[1] / "docs" / "planning.md"
GOAL: Final = 0.01
_RUNS: Final = 10
_IMAGES: Final = {0.3: 100_000, 0.5: 200_000, 0.7: 400_000, 0.8: 800_000, 0.9: 2_500_000}
"""Of a run, by load: waits of a busier queue depend on each other for longer."""
_FOUR: Final = (30, 1_000_000)
"""Runs, and images of each, of M/M/4, where most wait not at all."""
T95: Final = {10: 2.262, 30: 2.045}
"""Student's t: half a 95% interval in standard errors of so many runs."""


def pollaczek_khinchine(load: float) -> float:
    """Return the mean wait of an M/D/1 queue in service times (Pollaczek 1930, Khinchine 1932)."""
    return load / (2 * (1 - load))


def erlang_c(load: float, servers: int) -> float:
    """Return the mean wait of an M/M/c queue in service times (Erlang 1917)."""
    offered = load * servers
    busy = offered**servers / math.factorial(servers) / (1 - load)
    waits = busy / (busy + sum(offered**k / math.factorial(k) for k in range(servers)))
    return waits / (servers * (1 - load))


def queue(load: float, servers: int, *, exponential: bool, wanted: float) -> dict[str, Any]:
    """Return the mean wait of one queue, simulated many times, beside its closed form."""
    runs, images = (_RUNS, _IMAGES[load]) if servers == 1 else _FOUR
    waits = [
        wait(load, servers, exponential=exponential, images=images, seed=seed)
        for seed in range(runs)
    ]
    mean = statistics.mean(waits)
    half = T95[runs] * statistics.stdev(waits) / math.sqrt(runs)
    return {
        "queue": f"M/{'M' if exponential else 'D'}/{servers}",
        "load": load,
        "closed_form": wanted,
        "simulated": mean,
        "half_interval": half,
        "error": mean / wanted - 1,
        "images": runs * images,
        "runs": waits,
    }


def wait(load: float, servers: int, *, exponential: bool, images: int, seed: int) -> float:
    """Return the mean wait of one run in service times; the first, who find it empty, are left."""
    network = Network((servers,), (Lane((Visit(0, 1.0, exponential=exponential),)),))
    arrivals_s = arrive("poisson", load * servers, images, seed=seed)
    run = simulate(network, arrivals_s, seed=1000 + seed)
    return float(run.latencies_s[len(arrivals_s) // 50 :].mean()) - 1.0


def lindley(load: float) -> float:
    """Return the largest difference in seconds from Lindley's recursion, computed by numpy."""
    network = Network((1,), (Lane((Visit(0, 1.0),)),))
    arrivals_s = arrive("poisson", load, 200_000, seed=77)
    run = simulate(network, arrivals_s)
    steps = np.concatenate([[0.0], 1.0 - np.diff(arrivals_s)])
    walk = np.cumsum(steps)
    waits_s = walk - np.minimum.accumulate(walk)
    return float(np.abs(run.latencies_s - 1.0 - waits_s).max())


def saturated() -> list[dict[str, Any]]:
    """Return throughputs of saturated servers beside the slowest of their stages."""
    rows = []
    bounds: dict[str, Callable[[float], dict[str, float]]] = {
        "card": lambda _: {},
        "link-in": lambda card_s: {"link-in": 1.5 * card_s},
        "host": lambda card_s: {"host": 1.5 * card_s},
        "requests": lambda _: {},
        "shared host threads": lambda card_s: {"host": 0.6 * card_s},
    }
    for name in PRESETS:
        server = find_preset(name)
        assert server.card is not None
        card_s = server.card.demand_s("card")
        for bound, change in bounds.items():
            slower = change(card_s)
            for batch in (1, 8):
                steps = tuple(
                    step.model_copy(update={"image_s": slower[step.place]})
                    if step.place in slower and step.images_per_s is None
                    else step
                    for step in server.card.steps
                )
                requests = 1 if bound == "requests" else 8
                card = server.card.model_copy(
                    update={"steps": steps, "batch": batch, "requests": requests}
                )
                # One thread for every two cards: each waits for those of the other card.
                threads = (server.max_cards or 2) // 2 if bound == "shared host threads" else None
                changed = server.model_copy(update={"card": card, "host_threads": threads})
                for cards in (1, server.max_cards or 1):
                    wanted = capacity(changed, cards, CpuRole.OFFLOAD)
                    run = saturate(lay_out(changed, cards, CpuRole.OFFLOAD).network, 40_000)
                    rows.append(
                        {
                            "server": name,
                            "bound_by": wanted.bound_by,
                            "asked_bound": bound,
                            "host_threads": threads,
                            "batch": batch,
                            "cards": cards,
                            "closed_form": wanted.images_per_s,
                            "simulated": run.images_per_s(),
                            "error": run.images_per_s() / wanted.images_per_s - 1,
                        }
                    )
    return rows


def additive() -> list[dict[str, Any]]:
    """Return throughputs of every preset, CPU and all, beside the sum of both."""
    rows = []
    for name in PRESETS:
        server = find_preset(name)
        for cards in range((server.max_cards or 0) + 1):
            wanted = capacity(server, cards, CpuRole.ADDITIVE).images_per_s
            found = simulate_load(
                server, cards, CpuRole.ADDITIVE, 0.0, arrivals="saturated", images=40_000
            ).images_per_s
            rows.append(
                {
                    "server": name,
                    "cards": cards,
                    "closed_form": wanted,
                    "simulated": found,
                    "error": found / wanted - 1,
                }
            )
    return rows


def waits_text(document: Mapping[str, Any]) -> str:
    """Return the mean waits as a table in Markdown, and the worst of what was saturated."""
    lines = [
        "| queue | load | mean wait, closed form | simulated, 95% interval | error | images |",
        "|" + "---|" * 6,
    ]
    for one in document["mean_wait_in_service_times"]:
        lines.append(
            f"| {one['queue']} | {one['load']:g} | {one['closed_form']:.4f} | "
            f"{one['simulated']:.4f} ± {one['half_interval']:.4f} | {one['error']:+.2%} | "
            f"{one['images']:,} |"
        )
    exact_s = max(document["largest_difference_from_lindley_s"].values())
    worst, count = document["worst"], len(document["saturated"])
    told = (
        "Waits are in service times. M/D/1: Pollaczek and Khinchine; M/M/c: Erlang C. Image by "
        f"image, waits differ from Lindley's recursion by {exact_s:.0e} service times at most. "
        f"{count} saturated servers of cards, bound by card, link, host, requests or threads of "
        f"the host that two cards share, with batches of 1 and 8, are within "
        f"{worst['saturated']:.2%} of the rate of their slowest stage, and every preset whose CPU "
        f"computes too within {worst['additive']:.2%} of the sum of both."
    )
    return "\n".join([*lines, "", *textwrap.wrap(told, 100)])


def main() -> None:
    """Compute, show and write everything."""
    rehearsal = parse_args(argparse.ArgumentParser(description=__doc__.splitlines()[0])).rehearsal
    queues = [
        queue(load, 1, exponential=False, wanted=pollaczek_khinchine(load)) for load in _IMAGES
    ]
    queues += [
        queue(0.7, servers, exponential=True, wanted=erlang_c(0.7, servers)) for servers in (1, 4)
    ]
    exact_s = {f"{load:g}": lindley(load) for load in _IMAGES}
    pipelines, sums = saturated(), additive()
    worst = {
        "queues": max(abs(one["error"]) for one in queues),
        "half intervals of queues": max(
            one["half_interval"] / one["closed_form"] for one in queues
        ),
        "saturated": max(abs(one["error"]) for one in pipelines),
        "additive": max(abs(one["error"]) for one in sums),
    }
    document = {
        "goal": GOAL,
        "worst": worst,
        "met": all(value <= GOAL for value in worst.values()),
        "mean_wait_in_service_times": queues,
        "largest_difference_from_lindley_s": exact_s,
        "saturated": pipelines,
        "additive": sums,
    }
    path = write("plan_closed_forms", document, rehearsal=rehearsal, modelled=True)
    if rehearsal is None:
        write_text(PAGE, put(PAGE.read_text("utf-8"), "closed forms", waits_text(document)))
    table(
        "Mean wait, in service times",
        ("queue", "load", "closed form", "simulated", "+-", "error"),
        [
            (
                one["queue"],
                f"{one['load']:g}",
                f"{one['closed_form']:.4f}",
                f"{one['simulated']:.4f}",
                f"{one['half_interval']:.4f}",
                f"{one['error']:+.2%}",
            )
            for one in queues
        ],
    )
    print({key: f"{value:.3%}" for key, value in worst.items()}, exact_s)
    print("written:", path)


if __name__ == "__main__":
    main()
