"""Candidates: what is written of one source, and that each is checked."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openvino as ov
import pytest

from thorax.artifact import Artifact, Precision, load
from thorax.errors import ModelError
from thorax.ir.classifier import Description, open_classifier
from thorax.quantization import candidates
from thorax.quantization.candidates import CandidateBuilder

Convert = Callable[..., Any]


@pytest.fixture
def builder(convert: Convert, tmp_path: Path) -> CandidateBuilder:
    made = convert("resnet18")
    source = open_classifier(made.checkpoint, Description())
    return CandidateBuilder(tmp_path, source, made.model, made.artifact.card)


def test_a_candidate_is_an_artifact_that_verifies(builder: CandidateBuilder) -> None:
    for found in (builder.fp32(), builder.halves(Precision.FP16)):
        card = load(found.artifact.path).card
        assert card == found.artifact.card
        assert card.precision is found.precision
        assert card.name == f"resnet18-{found.precision}"
        assert found.difference < 1e-2


def test_the_fp32_candidate_is_written_once(builder: CandidateBuilder) -> None:
    assert builder.fp32() is builder.fp32()


def test_the_graph_of_the_workshop_is_never_changed(builder: CandidateBuilder) -> None:
    def constants(model: ov.Model) -> list[str]:
        return [
            node.get_element_type().to_string()
            for node in model.get_ordered_ops()
            if node.get_type_name() == "Constant"
        ]

    before = constants(builder.model)
    builder.halves(Precision.BF16)
    assert constants(builder.model) == before


def test_a_candidate_says_what_was_kept(builder: CandidateBuilder) -> None:
    found = builder.write(Precision.FP32, builder.model, ("conv1",))
    assert found.kept == load(found.artifact.path).card.kept == ("conv1",)


def test_a_candidate_that_strays_is_refused(
    builder: CandidateBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "largest_difference", lambda *_, **__: 0.5)
    with pytest.raises(ModelError) as refused:
        builder.fp32()
    assert refused.value.code == "model-differs"
    assert dataclasses.is_dataclass(Artifact)
