"""Presets: every constant has a source."""

import pytest

from thorax.errors import UsageError
from thorax.plan.server import PRESETS, find_preset

KINDS = {"published", "measured", "derived", "assumed", "calibrated"}


@pytest.mark.parametrize("name", PRESETS)
def test_every_constant_of_a_preset_names_its_source(name: str) -> None:
    server = find_preset(name)
    assert server.card is not None
    told = {one.split(": ")[0]: one.split(": ")[1] for one in server.sources}
    assert set(told.values()) <= KINDS
    wanted = {"max_cards", "base_w"} | {f"card.{key}" for key in ("batch", "requests")}
    wanted |= {"speedup"} if server.speedup else set()
    wanted |= {f"cpu.{key}" for key, value in server.cpu if value is not None}
    wanted |= {f"card.{key}" for key in ("power_w", "idle_w")}
    wanted |= {f"card.steps.{step.place.split('-')[0]}" for step in server.card.steps}
    assert wanted == set(told)


def test_a_preset_is_found_by_name() -> None:
    assert [find_preset(name).name for name in PRESETS] == list(PRESETS)
    with pytest.raises(UsageError, match="nearest is r740"):
        find_preset("r7400")
