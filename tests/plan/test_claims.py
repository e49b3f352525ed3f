"""The claims of 2018 and 2019: each verdict, by hand, and the page that tells them."""

import pytest
from benchmarks import figures_2018
from benchmarks.claims_2018 import Claim, Verdict, claims
from benchmarks.record.evidence import Evidence

from thorax.plan.server import PRESETS, find_preset
from thorax.plan.server_plan import ServerQuestion, plan_server

FOUND = claims()


def told(words: str) -> list[Claim]:
    return [one for one in FOUND if words in one.claim]


def test_a_gain_of_116_percent_is_met_only_by_numbers_that_were_solved_for() -> None:
    gains = told("more images/s/W")
    by_hand = [
        100 * (2.3 * 300 / 472 - 1),
        100 * (2.3 * 300 / 472 - 1),
        100 * (1.3 * 300 / 172 - 1),
        116.0,
        100 * (1.25 * 300 / (4 * 43.4) - 1),
        116.0,
    ]
    assert [one.computed for one in gains] == pytest.approx(by_hand, abs=0.01)
    assert [one.verdict for one in gains] == [Verdict.MISSED] * 3 + [Verdict.SOLVED] * 3
    # The watts that the text would need, to a watt.
    assert pytest.approx(286, abs=0.5) == 2.16 * 172 / 1.3
    assert pytest.approx(147, abs=0.5) == 2.3 * 300 / 2.16 - 172
    assert "286 W" in gains[3].how
    assert "147 W" in gains[5].how


def test_what_the_planner_takes_from_a_text_is_called_a_constant() -> None:
    for words in (
        "cards: times the images/s", "images/s/W of the cards", "watts of a card", "more than",
        "linear", "batch 1",
    ):  # fmt: skip
        kept = told(words)
        assert kept
        assert {one.verdict for one in kept} == {Verdict.CONSTANT}


def test_a_card_makes_more_than_100_images_a_second_and_each_adds_as_many() -> None:
    (card,) = told("more than")
    assert card.computed == pytest.approx(104.92)
    assert [one.computed for one in told("linear")] == pytest.approx([1.0, 1.0], abs=0.02)


def test_six_times_the_efficiency_is_of_another_server() -> None:
    other, own, half = told("times the images/s/W of a CPU")
    assert other.verdict == Verdict.REPRODUCED
    assert {own.verdict, half.verdict} == {Verdict.MISSED}
    assert half.computed == pytest.approx(1251 / 405 / (165 / 416))
    assert other.computed == pytest.approx(1251 / 405 / (330 / 615))
    assert own.computed == pytest.approx(1251 / 405 / (312.75 / 416))


def test_what_the_planner_does_not_reproduce_of_2019_stands_too() -> None:
    watts = told("more watts")
    by_hand = [100 * (466 / 416 - 1), 100 * (616 / 416 - 1), 100 * (255 / 416 - 1), 100 * -11 / 416]
    assert [one.computed for one in watts] == pytest.approx(by_hand)
    assert {one.verdict for one in watts} == {Verdict.MISSED}
    (threads,) = told("64 threads")
    assert (threads.computed, threads.verdict) == (None, Verdict.OUTSIDE)
    taken, half = told("of a server of two sockets")
    assert (taken.verdict, half.verdict) == (Verdict.CONSTANT, Verdict.MISSED)
    assert half.computed == pytest.approx(312.75 / 165)


def test_nothing_that_was_put_in_is_called_reproduced() -> None:
    found = [one for one in FOUND if one.verdict is Verdict.REPRODUCED]
    assert [(one.year, one.claim) for one in found] == [
        (2019, "the same without that rest"),
        (2019, "times the images/s/W of a CPU"),
    ]


def test_the_latency_of_a_card_is_published_but_for_what_rounds_away() -> None:
    (bare,) = told("without that rest")
    assert bare.computed == pytest.approx(1e3 / 312.75 + 0.394)
    assert bare.verdict == Verdict.REPRODUCED


def test_the_page_and_the_result_are_what_the_planner_computes() -> None:
    page = figures_2018.PAGE.read_text("utf-8")
    assert figures_2018.claims_text() in page
    result = Evidence().newest("figures_2018").document
    assert [one["verdict"] for one in result["claims"]] == [one.verdict.value for one in FOUND]
    made = {}
    for name in PRESETS:
        server = find_preset(name)
        cards = tuple(range((server.max_cards or 0) + 1))
        made[name] = plan_server(server, ServerQuestion(cards, images=1000))
        assert result["servers"][name] == figures_2018.rows(made[name])
    assert figures_2018.servers_text(made) in page
