"""Which layers INT8 hurts: the search, and the ranking that it follows."""

import math
from typing import Any

import numpy as np
import openvino as ov
import pytest

from thorax.artifact import Artifact
from thorax.data.store import Store
from thorax.quantization.accuracy_budget import Verdict
from thorax.quantization.mixed_precision import (
    Judged,
    fewest_float_layers,
    kernel_layers,
    noisiest,
)

BUDGET = 0.01


def judged(drop: float, kept: tuple[str, ...] = ()) -> Judged:
    candidate: Any = kept
    return Judged(candidate, Verdict(np.zeros((1, 1), np.float32), np.ones(1), drop))


@pytest.mark.parametrize("needed", range(1, 17))
def test_the_search_finds_the_fewest_layers_in_few_tries(needed: int) -> None:
    ranked = [f"layer{n}" for n in range(16)]
    tries: list[int] = []

    def make(kept: tuple[str, ...]) -> Judged:
        assert list(kept) == ranked[: len(kept)]
        tries.append(len(kept))
        return judged(0.0 if len(kept) >= needed else 0.05, kept)

    found = fewest_float_layers(judged(0.1), ranked, BUDGET, make)
    assert len(found.candidate) == needed  # type: ignore[arg-type]
    assert len(tries) == len(set(tries)) <= 2 * math.log2(16)


def test_where_no_number_of_layers_suffices_the_nearest_is_returned() -> None:
    drops = {1: 0.2, 2: 0.03, 4: 0.04, 5: 0.05}
    found = fewest_float_layers(
        judged(0.1), "abcde", BUDGET, lambda kept: judged(drops[len(kept)], kept)
    )
    assert found.verdict.drop == 0.03
    first = judged(0.1)
    assert fewest_float_layers(first, "", BUDGET, lambda kept: judged(0.0, kept)) is first


def test_the_layers_of_int8_are_all_with_weights_but_the_head(tiny_int8: Artifact) -> None:
    model = ov.Core().read_model(tiny_int8.xml)
    assert set(kernel_layers(model)) - set(kernel_layers(model, quantised=True)) == {
        "head/linear", "head/cells",
    }  # fmt: skip
    assert len(kernel_layers(model, quantised=True)) == 20


def test_the_layer_that_adds_the_most_noise_comes_first(
    tiny_fp32: Artifact, tiny_int8: Artifact, tiny_store: Store
) -> None:
    core = ov.Core()
    whole, spoilt = (core.read_model(one.xml) for one in (tiny_fp32, tiny_int8))
    name = "layer2.0.conv1"
    for node in spoilt.get_ordered_ops():
        if node.get_friendly_name() == name:
            kernel = node.input_value(1)
            off = ov.opset13.multiply(kernel, ov.opset13.constant(np.float32(-8)))
            node.input(1).replace_source_output(off.output(0))
    ranked = noisiest(whole, spoilt, tiny_store.images[:2][:, None])
    assert ranked[0] == name
    assert sorted(ranked) == sorted(kernel_layers(spoilt, quantised=True))
