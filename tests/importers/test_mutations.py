"""Damaged copies of a model of every format: a graph or an error of one line, never the end."""

import pytest
from benchmarks.reliability_models import Outcome, run
from tests.importers.small_models import KINDS, Kind

pytestmark = pytest.mark.timeout(1200)

COPIES = 16
TRACES = 6
"""Of formats that a library takes most of a second to read."""
SLOW = ("Keras 3", "Keras, HDF5", "TorchScript", "PyTorch, exported", "PyTorch, state dict")


def copies_of(kind: Kind) -> int:
    return TRACES if kind.name in SLOW else COPIES


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """Outcomes of all formats, of one process that imports the libraries once."""
    return run([(kind, range(copies_of(kind))) for kind in KINDS])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))
def test_damage_is_refused_or_harmless(kind: Kind, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[kind.name]
    assert (outcome.lost, outcome.crashed) == ({}, {})
    assert outcome.answers.total() == copies_of(kind)
