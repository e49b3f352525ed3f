"""Moves of islands that are found segment by segment are those of cutting the whole network."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import openvino as ov
import pytest
from tests.devices.networks import NETWORKS, Builder
from tests.devices.test_hetero import tangle

from thorax.devices import partition as split
from thorax.devices.hetero import steps
from thorax.devices.islands import CROSSING_MACS, Islands, Move
from thorax.devices.partition import live_layers, partition, set_apart
from thorax.fpga.emulation import AFFINITY
from thorax.fpga.workload import describe


def crossings(model: ov.Model, chosen: Mapping[str, str]) -> int:
    return len(split._Cut.of(model, chosen).crossings())


def best_move(
    model: ov.Model, chosen: Mapping[str, str], devices: Sequence[str], macs: Mapping[str, int]
) -> Move | None:
    """Return what `Islands.best_move` does, by cutting the whole network for each move."""
    cut = split._Cut.of(model, chosen)
    islands: dict[int, list[str]] = {}
    for step, number in zip(cut.graph, cut.numbers, strict=True):
        if step.name in chosen:
            islands.setdefault(number, []).append(step.name)
    work = {number: sum(macs.get(name, 0) for name in names) for number, names in islands.items()}
    most = {
        max((n for n in islands if chosen[islands[n][0]] == device), key=work.__getitem__)
        for device in set(chosen.values())
    }
    best: Move | None = None
    for number, names in islands.items():
        for device in devices:
            if number in most or device == chosen[names[0]]:
                continue
            moved = {**chosen, **dict.fromkeys(names, device)}
            saved = len(cut.crossings()) - crossings(model, moved)
            worth = saved > 0 and work[number] <= saved * CROSSING_MACS
            if worth and (best is None or saved > best.saved):
                best = Move(tuple(names), device, saved)
    return best


def require_same_moves(
    model: ov.Model, chosen: dict[str, str], macs: Mapping[str, int], most: int
) -> None:
    graph = steps(model)
    devices = tuple(sorted(set(chosen.values())))
    islands = Islands(graph, chosen, split._followed(graph, chosen), macs)
    assert islands.crossings() == crossings(model, chosen)
    for _ in range(most):
        move = islands.best_move(lambda *_: True, devices)
        assert move == best_move(model, chosen, devices, macs)
        if move is None:
            return
        islands.move(move)
        chosen.update(dict.fromkeys(move.layers, move.device))
        assert islands.crossings() == crossings(model, chosen)


@pytest.mark.parametrize("start", range(0, 30, 10))
def test_moves_in_a_tangle_are_those_of_the_whole(start: int) -> None:
    for seed in range(start, start + 10):
        model, rng = tangle(seed), random.Random(seed)
        chosen = {
            node.get_friendly_name(): node.get_rt_info()[AFFINITY].astype(str)
            for node in model.get_ordered_ops()
            if node.get_type_name() not in ("Parameter", "Constant", "Result")
        }
        macs = {name: rng.choice([0, 0, 1000, 1_500_000, 5_000_000]) for name in chosen}
        require_same_moves(model, chosen, macs, most=5)


@pytest.mark.parametrize("name", NETWORKS)
def test_moves_in_a_network_are_those_of_the_whole(name: str) -> None:
    model = NETWORKS[name]()
    set_apart(model)
    rng = random.Random(1)
    # A device in ten is another: some islands are worth moving, others are not.
    chosen = {layer: rng.choice(["FPGA.0"] * 9 + ["CPU"]) for layer in live_layers(model)}
    require_same_moves(model, chosen, {row.name: row.macs for row in describe(model)}, most=2)


def test_merging_cuts_the_whole_network_twice(cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Builder(16)
    value = net.softplus(net.conv(net.image, 64, 5))
    for _ in range(4):
        value = net.softplus(net.relu(value))
    cuts: list[int] = []

    def counted(model: ov.Model, chosen: Mapping[str, str]) -> split._Cut:
        cuts.append(1)
        return whole(model, chosen)

    whole = split._Cut.of
    monkeypatch.setattr(split._Cut, "of", counted)
    merged = partition(net.model(value), "HETERO:FPGA,CPU")
    assert (merged.crossings_before, len(merged.crossings)) == (11, 1)
    assert len(cuts) == 2
