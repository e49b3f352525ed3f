"""Servers in closed form: what the published constants give under both readings."""

import pytest

from thorax.errors import UsageError
from thorax.plan.inputs import changed
from thorax.plan.latency import simulate_load
from thorax.plan.server import Server, Step, capacity, cards_rate, find_preset
from thorax.results.plan import CpuRole

R, W = 2.44 * 43, 43.0
"""Images/s and watts of a card of 2018."""


@pytest.mark.parametrize(
    ("name", "ratio", "cards", "cpu_w"), [("r740", 2.3, 4, 300.0), ("r640", 2.6, 2, 210.0)]
)
def test_a_published_ratio_is_met_under_both_readings(
    name: str, ratio: float, cards: int, cpu_w: float
) -> None:
    server = find_preset(name)
    for role in CpuRole:
        without, full = capacity(server, 0, role), capacity(server, cards, role)
        assert full.images_per_s / without.images_per_s == pytest.approx(ratio)
        assert without.power_w == cpu_w
        assert full.marginal_images_per_s_per_w == pytest.approx(2.44)
    additive = capacity(server, cards, CpuRole.ADDITIVE)
    assert additive.images_per_s == pytest.approx(ratio * cards * R / (ratio - 1))
    assert additive.power_w == cpu_w + cards * W
    assert capacity(server, cards, CpuRole.OFFLOAD).images_per_s == pytest.approx(cards * R)


def test_more_cards_than_a_server_holds_are_refused() -> None:
    with pytest.raises(UsageError, match="holds 2 cards, not 3"):
        capacity(find_preset("r640"), 3, CpuRole.ADDITIVE)


def test_feeding_cards_is_taken_from_a_cpu_whose_cores_are_known() -> None:
    server = changed(find_preset("r740-2019"), ["cpu.cores=2"])
    found = capacity(server, 4, CpuRole.ADDITIVE)
    # 547 us of the host for each of 1,251 images a second, of two cores.
    taken = 1251 * 547e-6 / 2
    assert found.cpu_images_per_s == pytest.approx(312.75 * (1 - taken))
    assert capacity(server, 4, CpuRole.OFFLOAD).power_w == pytest.approx(405 + taken * (416 - 205))
    ratio = changed(find_preset("r740"), ["cpu.cores=2"])
    with_cards, without = (capacity(ratio, count, CpuRole.ADDITIVE) for count in (4, 0))
    assert with_cards.images_per_s / without.images_per_s == pytest.approx(2.3)


def test_threads_that_all_cards_share_bind_them() -> None:
    server = changed(find_preset("r740-2019"), ["host_threads=1"])
    rate, bound = cards_rate(server, 4)
    assert bound == "card"
    assert rate == pytest.approx(1251)
    slow = changed(server, ["host_threads=1", "card.requests=1"])
    rate, bound = cards_rate(slow, 1)
    assert bound == "requests"
    assert rate == pytest.approx(1 / 4e-3, rel=1e-3)


def test_cards_get_no_more_threads_than_the_host_has_cores() -> None:
    steps = ["card.steps=[{place='host',image_s=2e-3},{place='card',image_s=3e-3}]"]
    server = changed(find_preset("r740-2019"), [*steps, "cpu.cores=1"])

    def check(server: Server, cards: int, wanted: float, bound: str) -> None:
        rate, found = cards_rate(server, cards)
        assert rate == pytest.approx(wanted)
        assert found == bound

    # Four cards would need 2.7 cores.
    check(server, 4, 500.0, "host")
    check(server, 1, 1000 / 3, "card")
    many = changed(server, ["host_threads=8"])
    check(many, 4, 500.0, "host")
    simulated = simulate_load(server, 4, CpuRole.OFFLOAD, 0.0, arrivals="saturated", images=4000)
    assert simulated.images_per_s == pytest.approx(500.0, rel=0.01)
    free = changed(server, ["cpu.cores=4"])
    check(free, 4, 4000 / 3, "card")


def test_what_draws_more_when_idle_than_when_busy_is_refused() -> None:
    for setting in ("cpu.idle_w=500", "card.idle_w=500"):
        with pytest.raises(UsageError, match="idle_w that is not above power_w"):
            changed(find_preset("r740"), [setting])


def test_a_server_that_says_its_rate_twice_or_not_at_all_is_refused() -> None:
    table = find_preset("r740").model_dump(mode="json", exclude_none=True)
    for rate in ({"images_per_s": 300.0}, {}):
        cpu = table["cpu"] | rate
        changes = {"cpu": cpu} if rate else {"speedup": None}
        with pytest.raises(ValueError, match="either cpu"):
            Server.model_validate(table | changes, strict=False)
    with pytest.raises(ValueError, match="not both"):
        Step(place="card", image_s=1.0, images_per_s=1.0)
