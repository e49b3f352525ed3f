"""One changed bit in what an import wrote is found, or changes nothing."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks.reliability_bits import Kind, campaign, kinds

from thorax.errors import DataError

FLIPS = {
    "store": 250,
    "import, its images decoded": 90,
    "import, all but its name": 105,
    "artifact": 60,
    "state of simulated cards": 60,
    "document of a benchmark": 60,
    "power log": 60,
    "archive": 60,
    "archive, gone on with": 60,
    "training run": 60,
    "checkpoints of a run": 60,
}
"""How many bits are changed here; the benchmark changes more."""


@pytest.mark.parametrize("name", FLIPS)
def test_a_changed_bit_is_found_or_changes_nothing(name: str, tmp_path: Path) -> None:
    (kind,) = (kind for kind in kinds(tmp_path / "sources") if kind.name == name)
    outcome = campaign(kind, tmp_path / "work", flips=FLIPS[name])
    assert (outcome.silent, outcome.crashed) == ([], [])
    assert outcome.flips == FLIPS[name]
    assert outcome.found


def test_all_kinds_are_damaged_here_too(tmp_path: Path) -> None:
    assert {kind.name for kind in kinds(tmp_path)} >= set(FLIPS)


def use_first(folder: Path) -> Sequence[int]:
    """Stand for a reader that checks its first byte, uses the second and falls over the third."""
    first, second, third, _ = (folder / "bytes").read_bytes()
    if first:
        raise DataError("store-damaged", "the first byte is not 0")
    if third:
        raise KeyError(third)
    return [second]


def make_zeros(folder: Path) -> None:
    folder.mkdir()
    (folder / "bytes").write_bytes(bytes(4))


def test_the_campaign_tells_the_four_outcomes_apart(tmp_path: Path) -> None:
    outcome = campaign(Kind("zeros", make_zeros, use_first), tmp_path, flips=60)
    assert outcome.flips == 60
    assert outcome.codes == {"store-damaged": outcome.found}
    assert min(outcome.found, outcome.harmless, len(outcome.silent), len(outcome.crashed)) > 0
    assert all("byte 1," in line for line in outcome.silent)
    assert all("byte 2," in line and "KeyError" in line for line in outcome.crashed)
