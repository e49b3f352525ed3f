"""What was claimed of cards in servers in 2018 and 2019, each claim checked by the planner.

A claim is met if the value that the planner computes rounds to what was published. Constants that
the planner takes from the text are met by construction, and say nothing of the text; so is what was
solved for: a number that the text does not give, chosen so that the claim comes out.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final, Required, TypedDict, Unpack

from thorax.plan.inputs import changed
from thorax.plan.latency import simulate_load
from thorax.plan.server import Capacity, Server, capacity, find_preset
from thorax.results.plan import CpuRole

_A, _B = CpuRole.ADDITIVE, CpuRole.OFFLOAD

_GAIN: Final = 116.0
"""Percent: what cards bring in images/s/W by the text of 2018."""

_R840: Final = (330.0, 615.0)
"""Images/s and watts of a server of four sockets without cards, a PowerEdge R840 (Dell EMC, Deep
Learning Inference with Intel PAC on Dell EMC Infrastructure, 2019)."""


_COUNTERS_S: Final = (129 + 201 + 55 + 7 + 2) * 1e-6
"""Of host and link for an image of GoogLeNet v1, whose inputs and outputs are as large as those of
ResNet-50 (OpenVINO 2018 to 2020, Optimization Guide)."""


class Verdict(StrEnum):
    """What became of a claim."""

    CONSTANT = "constant"
    """The planner takes it, or what it comes to, from the text: it holds by construction."""
    REPRODUCED = "reproduced"
    """What the planner computes from other constants rounds to it."""
    SOLVED = "solved for"
    """It holds by construction too: a number that the text does not give was chosen to meet it."""
    MISSED = "not reproduced"
    """What the planner computes is something else."""
    OUTSIDE = "not modelled"
    """The planner has no say in it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim under one reading.

    Attributes:
        year: of the text.
        claim: in words.
        published: the value.
        unit: of it.
        computed: what the planner gets; None where it has no say.
        reading: what the CPU does, or "both".
        verdict: what became of it.
        how: from what it is computed, what it assumes, or why it cannot be.
    """

    year: int
    claim: str
    published: float
    unit: str
    computed: float | None
    reading: str
    verdict: Verdict
    how: str


def claims() -> tuple[Claim, ...]:
    """Return every claim, checked."""
    return (*_speed_2018(), *_efficiency_2018(), *_gain_2018(), *_claims_2019())


def document() -> dict[str, Any]:
    """Return all claims as JSON."""
    return {"claims": [asdict(one) for one in claims()]}


class _Rule(TypedDict, total=False):
    """When a claim is met, and what it counts as then."""

    step: Required[float]
    """One in the last digit of the published figure."""
    constant: bool
    """Whether the figure is one that was put in."""
    solved: bool
    """Whether a constant was solved for from it."""
    least: bool
    """Whether it was published as "more than"."""


def _check(
    year: int,
    claim: str,
    published: float,
    unit: str,
    computed: float,
    role: CpuRole | str,
    how: str,
    **rule: Unpack[_Rule],
) -> Claim:
    """Return a claim with its verdict.

    It is met within half a step of the published figure's digits, or above it if it is a least.
    """
    within = abs(computed - published) <= rule["step"] / 2
    met = computed > published if rule.get("least") else within
    verdict = Verdict.SOLVED if rule.get("solved") else Verdict.REPRODUCED
    if rule.get("constant"):
        verdict = Verdict.CONSTANT
    if not met:
        verdict = Verdict.MISSED
    return Claim(year, claim, published, unit, computed, str(role), verdict, how)


def _speed_2018() -> Iterable[Claim]:
    for name, ratio in (("r740", 2.3), ("r640", 2.6)):
        server = find_preset(name)
        full = server.max_cards or 0
        for role in (_A, _B):
            without, with_cards = capacity(server, 0, role), capacity(server, full, role)
            yield _check(
                2018, f"{name.upper()}, {full} cards: times the images/s", ratio, "x",
                with_cards.images_per_s / without.images_per_s, role,
                f"the CPU's rate follows from it: {without.images_per_s:.0f} images/s alone, "
                f"{with_cards.images_per_s:.0f} with cards; no rate of a CPU is in the text",
                step=0.1, constant=True,
            )  # fmt: skip
    server = find_preset("r740")
    yield _check(
        2018, "a card: more than", 100.0, "images/s", capacity(server, 1, _B).images_per_s, "both",
        "2.44 images/s/W x 43 W, both of the text, is what the planner takes for the rate of a "
        "card", step=0.0, least=True, constant=True,
    )  # fmt: skip
    for role in (_A, _B):
        found = [
            simulate_load(
                server, cards, role, 0.0, arrivals="saturated", images=20_000
            ).images_per_s
            for cards in range(1, 5)
        ]
        steps = [later - sooner for sooner, later in pairwise(found)]
        yield _check(
            2018, "R740: linear, least over most that a card adds", 1.0, "",
            min(steps) / max(steps), role,
            "simulated, but a thread of the host and a link for each card and nothing that they "
            "share is what the planner assumes", step=0.02, constant=True,
        )  # fmt: skip


def _efficiency_2018() -> Iterable[Claim]:
    server = find_preset("r740")
    for role in (_A, _B):
        found = capacity(server, 4, role)
        yield _check(
            2018, "R740, images/s/W of the cards", 2.44, "images/s/W", _marginal(found), role,
            "marginal: what four cards add to images/s and watts", step=0.01, constant=True,
        )  # fmt: skip
    yield _check(
        2018, "watts of a card", 43.0, "W", capacity(server, 1, _B).cards_power_w, "both",
        "a card that is kept busy", step=1.0, constant=True,
    )  # fmt: skip


def _gain_2018() -> Iterable[Claim]:
    """+116 % images/s/W: of what, and with which watts, the text does not tell."""
    server = find_preset("r740")
    claim = "R740, 4 cards: more images/s/W"
    yield _percent(
        claim, _whole(server, _A), _A,
        "whole server: 2.3 x 300 W / (300 W + 4 x 43 W) is 1.46 whatever the CPU's rate is",
    )  # fmt: skip
    busy = changed(server, ["cpu.idle_w=300"])
    yield _percent(
        claim, _whole(busy, _B), _B, "whole server whose CPU draws 300 W while it only feeds cards"
    )
    yield _percent(
        claim, _added(server), _A,
        "the cards' 2.44 over the CPU's images/s/W; 1.3 x 300 W / (4 x 43 W) is 2.27, of the watts "
        "and the ratio alone",
    )  # fmt: skip
    lean_w = (1 + _GAIN / 100) * 4 * 43.0 / 1.3
    lean = changed(server, [f"cpu.power_w={lean_w}"])
    yield _percent(
        claim, _added(lean), _A,
        f"as above, would need CPUs that draw {lean_w:.0f} W and not 300 W", solved=True,
    )  # fmt: skip
    edge = changed(server, ["speedup.ratio=2.25", "card.power_w=43.4"])
    yield _percent(
        claim, _added(edge), _A,
        "as above with 300 W, would need 2.25x that was rounded to 2.3x and 43.4 W to 43 W: the "
        "edge of what rounding allows", solved=True,
    )  # fmt: skip
    idle_w = server.cpu.idle_w or 0.0
    yield _percent(
        claim, _whole(server, _B), _B,
        f"whole server, would need an idle CPU that draws {idle_w:.0f} W, which the preset takes",
        solved=True,
    )  # fmt: skip


def _percent(claim: str, ratio: float, role: CpuRole, how: str, *, solved: bool = False) -> Claim:
    return _check(2018, claim, _GAIN, "%", 100 * (ratio - 1), role, how, step=1.0, solved=solved)


def _claims_2019() -> Iterable[Claim]:
    server = find_preset("r740-2019")
    found = simulate_load(server, 4, _B, 0.0, arrivals="saturated", images=20_000)
    alone = simulate_load(server, 1, _B, 1.0, arrivals="constant", images=1000)
    full, without = capacity(server, 4, _B), capacity(server, 0, _B)
    per_w = _per_w(full)
    yield _check(
        2019, "R740, 4 cards", 1251.0, "images/s", found.images_per_s, _B,
        "simulated from the rate of one card, 312.75: host threads and links do not bind",
        step=0.02 * 1251, constant=True,
    )  # fmt: skip
    yield _check(
        2019, "watts of a card, measured", 50.0, "W", capacity(server, 1, _B).cards_power_w, "both",
        "a card that is kept busy", step=1.0, constant=True,
    )  # fmt: skip
    assert alone.latency is not None
    yield _check(
        2019, "latency of a card, batch 1", 4.0, "ms", 1e3 * alone.latency.p50_s, _B,
        "1 / 312.75 s on the card, 0.39 ms of another network's counters, and the rest, 0.41 ms, "
        "which is given to the host",
        step=0.1, constant=True,
    )  # fmt: skip
    bare = 1 / (full.images_per_s / 4) + _COUNTERS_S
    yield _check(
        2019, "the same without that rest", 4.0, "ms", 1e3 * bare, _B,
        "rounds to 4 ms: the rest is within the rounding of the text", step=1.0,
    )  # fmt: skip
    yield _check(
        2019, "times a thread of the CPU's latency, 21 ms", 5.25, "x",
        21.0 / (1e3 * alone.latency.p50_s), _B, "21 ms are of the text", step=0.1, constant=True,
    )  # fmt: skip
    yield _check(
        2019, "R740, 4 cards", 405.0, "W", full.power_w or 0.0, _B,
        "the idle host, 205 W, is what they leave: only one socket is in use", step=1.0,
        constant=True,
    )  # fmt: skip
    both = capacity(server, 4, _A)
    yield _check(
        2019, "R740, 4 cards", 405.0, "W", both.power_w or 0.0, _A,
        "a CPU that computes too draws its 416 W beside the cards", step=1.0,
    )  # fmt: skip
    yield from _watts_2019(server)
    rate, watts = _R840
    for what, sockets_rate, how in (
        ("a server of two sockets", capacity(server, 0, _B).images_per_s,
         "the text's words are what the planner takes for the rate of the two sockets"),
        ("a server of two sockets", rate / 2,
         "half of the 330 images/s that the same text measures on four sockets, an R840"),
    ):  # fmt: skip
        yield _check(
            2019, f"a card: times the images/s of {what}", 1.0, "x",
            capacity(server, 1, _B).images_per_s / sockets_rate, _B, how, step=0.1,
            constant=sockets_rate != rate / 2,
        )  # fmt: skip
    yield Claim(
        2019, "64 threads over 32: more images/s", 11.0, "%", None, "both", Verdict.OUTSIDE,
        "of threads of the CPU; the planner knows one rate of all of them",
    )  # fmt: skip
    yield _check(
        2019, "times the images/s/W of a CPU", 6.0, "x", per_w / (rate / watts), _B,
        f"{per_w:.2f} of the whole R740 over {rate / watts:.2f} of a whole R840 of four sockets",
        step=1.0,
    )  # fmt: skip
    yield _check(
        2019, "times the images/s/W of a CPU", 6.0, "x", per_w / _per_w(without), _B,
        f"{per_w:.2f} over {_per_w(without):.2f} of the same R740 without cards, if two sockets "
        "make 313 images/s", step=1.0,
    )  # fmt: skip
    slow = changed(server, [f"cpu.images_per_s={rate / 2}"])
    yield _check(
        2019, "times the images/s/W of a CPU", 6.0, "x", per_w / _per_w(capacity(slow, 0, _B)), _B,
        f"as above, if two sockets make half of what the four of the R840 do, {rate / 2:.0f}",
        step=1.0,
    )  # fmt: skip


def _watts_2019(server: Server) -> Iterable[Claim]:
    """+20 % watts of the server: with how many cards, and over what, the text does not tell."""
    for role in (_A, _B):
        for cards in (1, 4):
            ratio = _watts(capacity(server, cards, role)) / _watts(capacity(server, 0, role))
            yield _check(
                2019, "R740: more watts with cards", 20.0, "%", 100 * (ratio - 1), role,
                f"{cards} card{'s' if cards > 1 else ''} of 50 W over 416 W without cards"
                + (", whose CPU then idles" if role is _B else ""),
                step=1.0,
            )  # fmt: skip


def _marginal(found: Capacity) -> float:
    assert found.marginal_images_per_s_per_w is not None
    return found.marginal_images_per_s_per_w


def _watts(found: Capacity) -> float:
    assert found.power_w is not None
    return found.power_w


def _per_w(found: Capacity) -> float:
    assert found.images_per_s_per_w is not None
    return found.images_per_s_per_w


def _whole(server: Server, role: CpuRole) -> float:
    """Return images/s/W of the whole server with four cards over without."""
    return _per_w(capacity(server, 4, role)) / _per_w(capacity(server, 0, role))


def _added(server: Server) -> float:
    """Return images/s/W that four cards add over those of the CPU without."""
    return _marginal(capacity(server, 4, _A)) / _per_w(capacity(server, 0, _A))
