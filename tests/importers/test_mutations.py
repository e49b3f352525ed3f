"""Damaged copies of a model of every format: a graph or an error of one line, never the end."""

import pytest
from benchmarks.reliability_models import run
from tests.importers.small_models import KINDS, Kind

COPIES = 16
TRACES = 6
"""Of formats that a library takes most of a second to read."""
SLOW = ("Keras 3", "Keras, HDF5", "TorchScript", "PyTorch, exported", "PyTorch, state dict")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))
def test_damage_is_refused_or_harmless(kind: Kind) -> None:
    copies = TRACES if kind.name in SLOW else COPIES
    outcome = run([kind], range(copies))[kind.name]
    assert (outcome.lost, outcome.crashed) == ({}, {})
    assert outcome.answers.total() == copies
