"""Latency of servers: simulated throughput is that of the closed form, whatever binds."""

from typing import Any

import pytest

from thorax.plan.latency import highest_rate, simulate_load
from thorax.plan.server import CardModel, CpuModel, Server, Step, capacity, find_preset
from thorax.results.plan import CpuRole

BOUND: dict[str, dict[str, float]] = {
    "card": {"card": 10e-3},
    "link-in": {"link-in": 12e-3},
    "link-out": {"link-out": 12e-3},
    "host": {"host": 15e-3},
    "requests": {},
}


def server(bound: str, batch: int = 1, **changes: Any) -> Server:  # noqa: ANN401
    times_s = {"host": 2e-3, "link-in": 1e-3, "card": 5e-3, "link-out": 1e-3} | BOUND[bound]
    steps = [
        Step(place="host", image_s=times_s["host"] / 2),
        Step(place="link-in", image_s=times_s["link-in"]),
        Step(place="card", image_s=times_s["card"] / 2, batch_s=1e-3),
        Step(place="host", image_s=times_s["host"] / 2),
        Step(place="card", image_s=times_s["card"] / 2),
        Step(place="link-out", image_s=times_s["link-out"]),
    ]
    card = CardModel(
        name="card",
        steps=tuple(steps),
        batch=batch,
        requests=1 if bound == "requests" else 12,
        power_w=40.0,
        idle_w=30.0,
    )
    return Server(
        name="s",
        full_name="S",
        network="n",
        base_w=0.0,
        cpu=CpuModel(images_per_s=50.0, streams=2, power_w=200.0, idle_w=80.0),
        card=card,
        **changes,
    )


@pytest.mark.parametrize("bound", BOUND)
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(("cards", "threads"), [(1, None), (3, None), (3, 2)])
@pytest.mark.parametrize("role", CpuRole)
def test_a_saturated_server_does_what_its_closed_form_says(
    bound: str, batch: int, cards: int, threads: int | None, role: CpuRole
) -> None:
    one = server(bound, batch, host_threads=threads)
    wanted = capacity(one, cards, role)
    if threads is None or cards <= threads:
        assert wanted.bound_by == bound
    # Threads that all cards share see their batches in bursts, which a longer run averages out.
    images = 12_000 if threads else 4_000
    found = simulate_load(one, cards, role, 0.0, arrivals="saturated", images=images)
    assert found.images_per_s == pytest.approx(wanted.images_per_s, rel=0.01)


def test_watts_follow_the_load_between_idle_and_busy() -> None:
    one = server("card")
    full = capacity(one, 2, CpuRole.ADDITIVE)
    assert full.power_w == 200 + 2 * 40
    idle = simulate_load(one, 2, CpuRole.ADDITIVE, 0.1, images=1000)
    assert idle.power_w == pytest.approx(80 + 2 * 30, abs=0.5)
    half = simulate_load(one, 2, CpuRole.OFFLOAD, full.cards_images_per_s / 2, arrivals="constant")
    assert half.power_w == pytest.approx(80 + 2 * 35, rel=0.01)
    assert half.marginal_images_per_s_per_w == pytest.approx(full.cards_images_per_s / 2 / 70, 0.01)


def test_an_image_that_meets_nobody_takes_the_sum_of_its_steps() -> None:
    one = find_preset("r740-2019")
    assert one.card is not None
    assert one.card.alone_s() == pytest.approx(4e-3, rel=1e-3)
    found = simulate_load(one, 4, CpuRole.OFFLOAD, 1.0, arrivals="constant", images=1000)
    assert found.latency is not None
    assert found.latency.p99_s == pytest.approx(one.card.alone_s())


def test_what_a_server_cannot_answer_has_no_latency() -> None:
    one = server("card")
    most = capacity(one, 1, CpuRole.OFFLOAD).images_per_s
    found = simulate_load(one, 1, CpuRole.OFFLOAD, most * 1.01)
    assert (found.latency, found.images_per_s) == (None, most)


def test_the_highest_rate_keeps_its_limit_and_hardly_more_does_not() -> None:
    one = server("card")
    limit_s = 0.04
    found = highest_rate(one, 2, CpuRole.OFFLOAD, limit_s, images=3000)
    assert found is not None

    def p99_s(rate: float) -> float:
        latency = simulate_load(one, 2, CpuRole.OFFLOAD, rate, images=3000).latency
        return float("inf") if latency is None else latency.p99_s

    assert p99_s(found) <= limit_s < p99_s(found * 1.01)
    assert highest_rate(one, 2, CpuRole.OFFLOAD, 1e-3, images=1000) is None
