"""Counters and forecast of an engine: cards as modelled, other devices as measured."""

from dataclasses import replace
from typing import Final

from thorax.devices.card_model import count, forecast, join, model_offload
from thorax.devices.counters import Counter
from thorax.devices.engine import Engine
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.timing import noise_batch
from thorax.results.shared import Modelled

_RUNS: Final = 5
"""Inferences that the layers of other devices are counted over."""


def count_rows(engine: Engine, *, layers: bool = False) -> list[Counter]:
    """Return the counters of an engine: of cards what is modelled, of others what was measured.

    All times are of one image: those of an inference over the images of its batch. The engine was
    profiled; of several that share the work, rows have their member. `layers` adds what each layer
    of a card takes of its execute time.
    """
    alone = engine.members == (engine,)
    return [
        replace(
            row,
            real_s=row.real_s / engine.batch,
            cpu_s=row.cpu_s / engine.batch,
            member=None if alone else member.device,
        )
        for member in engine.members
        for row in _rows(member, layers=layers)
    ]


def _rows(engine: Engine, *, layers: bool = False) -> list[Counter]:
    measured, placed = engine.counters(), engine.placement
    if placed is None or not measured:
        return measured
    parts = [model_offload(offload, batch=engine.batch) for offload in placed.offloads]
    return count(parts, placed.network, placed.partition, measured, layers=layers)


def forecast_engine(engine: Engine, *, measure: bool = False) -> Modelled | None:
    """Return what the cards of an engine would do; None of an engine without simulated cards.

    Layers of other devices count as they were profiled, and not at all if they were not. Of several
    engines that share the work, what the members with cards would do is added. To `measure` is to
    compile once more and measure the layers of other devices, one inference at a time: a second or
    two.
    """
    forecasts, left_out = [], []
    for member in engine.members:
        placed = member.placement
        if placed is None or not placed.offloads:
            left_out.append(member.device)
            continue
        counted = _profile(member) if measure else member
        forecasts.append(
            forecast(
                placed.offloads,
                batch=member.batch,
                others_s=_others_s(counted),
                side_by_side=counted.streams,
            )
        )
    return join(forecasts, left_out=left_out) if forecasts else None


def _others_s(engine: Engine) -> float | None:
    """Return what one inference takes on devices that are no cards; None if nobody counted."""
    assert engine.placement is not None
    if not _has_others(engine):
        return 0.0
    if not engine.counters():
        return None
    return sum(row.real_s for row in _rows(engine) if row.origin == "measured" and row.counts)


def _has_others(engine: Engine) -> bool:
    assert engine.placement is not None
    split, cards = engine.placement.network, engine.placement.cards
    return any(part.layers and part.device not in cards for part in split.subgraphs)


def _profile(engine: Engine) -> Engine:
    """Return the same engine compiled with counters, after a few inferences."""
    if not _has_others(engine):
        return engine
    counted = compile_artifact(
        engine.artifact, engine.device, hint="latency", batch=engine.batch, counters=True
    )
    images = noise_batch(engine.batch, engine.artifact.card.input.side)
    counted.infer(images)
    for _ in range(_RUNS):
        counted.infer(images, profile=True)
    return counted
