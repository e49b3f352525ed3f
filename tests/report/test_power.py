"""Tables of energy: modelled and replayed figures are marked, missing ones have a reason."""

from tests.power.test_sampler import SYSTEM, Fake, benchmark

from thorax.power.meter import Channel, Reading
from thorax.power.sampler import Energy
from thorax.power.watch import Watch
from thorax.report.benchmark import speed_table
from thorax.report.power import energy_table, power_table


def test_modelled_power_is_marked_in_every_table() -> None:
    modelled = benchmark(Energy("model: m.toml", True, 10.0, 1000.0, 60.0))
    measured = benchmark(Energy("rapl", False, 10.0, 1000.0, 60.0))
    both = speed_table([modelled, measured])
    place = both.columns.index("W")
    assert [row[place] for row in both.rows] == ["100.0*", "100.0"]
    assert "* modelled, not measured" in both.note
    assert "modelled" not in speed_table([measured]).note
    alone = power_table([modelled])
    assert alone is not None
    assert alone.modelled
    assert "modelled" in alone.title
    mixed = power_table([modelled, measured])
    assert mixed is not None
    assert (mixed.modelled, mixed.simulated) == (False, (True, False))
    assert "model: m.toml (modelled, not measured)" in mixed.note


def test_replayed_power_is_marked_in_every_table() -> None:
    measured = benchmark(Energy("rapl", False, 10.0, 1000.0, 60.0))
    replayed = benchmark(Energy("replay: a (rapl)", False, 10.0, 1000.0, 60.0, replayed=True))
    assert replayed.power is not None
    assert replayed.power.replayed is True
    both = speed_table([replayed, measured])
    place = both.columns.index("W")
    assert [row[place] for row in both.rows] == ["100.0†", "100.0"]
    assert "† replayed" in both.note
    assert "replayed" not in speed_table([measured]).note
    table = power_table([replayed, measured])
    assert table is not None
    assert [row[1] for row in table.rows] == ["whole, W replayed", "whole"]
    assert "replay: a (rapl) (replayed, read at another time)" in table.note
    watched = Watch("power", SYSTEM)
    for at_s in (0.0, 10.0):
        watched.add(Reading(at_s, (100.0,)))
    result = watched.result(Fake([1.0], replayed=True))
    assert result.replayed is True
    assert energy_table(result).title == "Energy, replayed"


def test_a_table_of_power_names_both_efficiencies_and_why_one_is_missing() -> None:
    table = power_table([benchmark(Energy("rapl", False, 10.0, 1000.0, 60.0))])
    assert table is not None
    assert table.columns[-2:] == ("Img/s/W, whole", "marginal")
    assert table.rows[0][-2:] == ("1", "2.5")
    failed = power_table([benchmark(Energy("rapl", False, 10.0, None, error="it died"))])
    assert failed is not None
    assert "it died" in failed.note
    assert power_table([benchmark(Energy("none", False, 10.0, None))]) is None


def test_a_watched_meter_is_shown_with_its_parts() -> None:
    meter = Fake([1.0], channels=(Channel("package"), Channel("core", counted=False)))
    watch = Watch("power", meter.channels)
    for at_s in (0.0, 10.0):
        watch.add(Reading(at_s, (100.0, 60.0)))
    result = watch.result(meter)
    assert result.energy_j == 1000
    table = energy_table(result)
    assert table.rows == (
        ("package", "1,000.0", "100.0"),
        ("core (part)", "600.0", "60.0"),
        ("sum", "1,000.0", "100.0"),
    )
