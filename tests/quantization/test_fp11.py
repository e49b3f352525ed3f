"""FP11: weights that a card multiplies with, stored exactly, judged on the card."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

from thorax.artifact import Artifact, Precision, load
from thorax.data.store import Store
from thorax.devices.engine import compile
from thorax.errors import DeviceError, ModelError, UsageError
from thorax.fpga.card import program
from thorax.fpga.emulation import array_layers
from thorax.fpga.numerics import quantize
from thorax.quantization.accuracy_budget import AccuracyBudget, OnProgress
from thorax.quantization.candidates import BLOCK, block_of
from thorax.quantization.optimize import OptimizeOptions, optimize

HETERO = "HETERO:FPGA,CPU"


def kernels(made: Artifact) -> dict[str, Any]:
    """Return the weights of the convolutions, as the graph widens them."""
    model = ov.Core().read_model(made.xml)
    layers = set(array_layers(model))
    found = {}
    for node in model.get_ordered_ops():
        if node.get_friendly_name() in layers and node.get_type_name() == "Convolution":
            stored = node.input_value(1).get_node().input_value(0).get_node()
            assert stored.get_element_type() == ov.Type.f16
            found[node.get_friendly_name()] = np.asarray(stored.data, np.float32)
    return found


@pytest.fixture(scope="module")
def fp11(tiny_fp32: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    out = tmp_path_factory.mktemp("fp11") / "model"
    return optimize(tiny_fp32.path, out, Precision.FP11).artifact


def test_weights_are_stored_exactly_in_16_bits(fp11: Artifact, tiny_fp32: Artifact) -> None:
    assert fp11.card.precision is Precision.FP11
    assert fp11.card.provenance["fp11"] == {"block": BLOCK, "rounding": "faithful"}
    assert fp11.card.size_bytes < 0.55 * tiny_fp32.card.size_bytes
    plain = ov.Core().read_model(tiny_fp32.xml)
    before = {
        node.get_friendly_name(): node.input_value(1).get_node().data
        for node in plain.get_ordered_ops()
        if node.get_type_name() == "Convolution"
    }
    found = kernels(fp11)
    assert len(found) > 15
    for name, values in found.items():
        wanted = quantize(before[name], block=BLOCK, precision="fp11")
        np.testing.assert_array_equal(values, wanted)


@pytest.mark.parametrize("device", ["CPU", "AUTO", "HETERO:CPU"])
def test_nothing_but_a_card_computes_it(fp11: Artifact, device: str) -> None:
    with pytest.raises(DeviceError) as refused:
        compile(fp11, device)
    assert refused.value.code == "precision-unsupported"
    assert "HETERO:FPGA,CPU" in refused.value.message


@pytest.mark.usefixtures("cards")
def test_a_card_makes_the_same_of_it_as_of_its_fp32_twin(
    fp11: Artifact, tiny_fp32: Artifact, tiny_store: Store
) -> None:
    images = np.asarray(tiny_store.images[:4])[:, None]
    answers = []
    for one in (fp11, tiny_fp32):
        engine = compile(one, HETERO)
        assert (engine.simulated, engine.compute) == (True, "fp11+f32")
        answers.append(np.concatenate([engine.infer(image[None]).probability for image in images]))
    # Biases of 16 bits are all that differs; where that turns a rounding, by one unit of FP11.
    np.testing.assert_allclose(answers[0], answers[1], rtol=0, atol=2e-2)
    plain = compile(tiny_fp32)
    exact = np.concatenate([plain.infer(image[None]).probability for image in images])
    assert 0 < np.abs(answers[0] - exact).max() < 0.1


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize("budget", [None, 0.01])
def test_without_a_card_to_judge_it_on_nothing_is_begun(
    tiny_fp32: Artifact, tiny_store: Store, tmp_path: Path, budget: float | None
) -> None:
    said: list[str] = []
    out = tmp_path / "out"
    with pytest.raises(UsageError) as refused:
        optimize(
            tiny_fp32.path,
            out,
            Precision.FP11,
            store=tiny_store,
            options=OptimizeOptions(max_auroc_drop=budget),
            on_progress=OnProgress(said.append),
        )
    assert refused.value.code == "fp11-card"
    assert "HETERO:FPGA,CPU" in refused.value.message
    assert not said
    assert not out.exists()


def test_it_is_rounded_for_good(fp11: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="artifact-rounded"):
        optimize(fp11.path, tmp_path / "out", Precision.FP32)


@pytest.mark.usefixtures("cards")
def test_it_is_judged_on_the_card_against_fp32(
    tiny_fp32: Artifact, tiny_store: Store, tmp_path: Path
) -> None:
    made = optimize(
        tiny_fp32.path,
        tmp_path / "out",
        Precision.FP11,
        store=tiny_store,
        options=OptimizeOptions(max_auroc_drop=0.9, device=HETERO),
    )
    budget = AccuracyBudget(tiny_store, tiny_fp32, device=HETERO)
    cpu = AccuracyBudget(tiny_store, tiny_fp32)
    # The reference answers in FP32 though the card is named.
    np.testing.assert_allclose(budget.reference.scores, cpu.reference.scores, rtol=0, atol=1e-5)
    assert made.result.auroc_drop == pytest.approx(budget.judge(made.artifact).drop)
    assert load(made.artifact.path).card.accuracy is not None


@pytest.mark.usefixtures("cards")
def test_a_network_that_it_destroys_is_refused(fragile: Any, tmp_path: Path) -> None:  # noqa: ANN401
    for precision in (Precision.FP11, "auto"):
        with pytest.raises(ModelError) as refused:
            optimize(
                fragile.file,
                tmp_path / "out",
                precision,
                store=fragile.store,
                description=fragile.described,
                options=OptimizeOptions(max_auroc_drop=0.001, device=HETERO),
            )
        assert refused.value.code == "auroc-budget"
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("cards")
def test_auto_takes_it_where_there_is_a_card(fragile: Any, tmp_path: Path) -> None:  # noqa: ANN401
    told: list[str] = []
    made = optimize(
        fragile.file,
        tmp_path / "out",
        "auto",
        store=fragile.store,
        description=fragile.described,
        options=OptimizeOptions(max_auroc_drop=0.9, device=HETERO),
        on_progress=OnProgress(told.append),
    )
    assert made.artifact.card.precision is Precision.FP11
    assert {trial.precision for trial in made.artifact.card.tried} == {
        Precision.FP32,
        Precision.FP11,
    }
    # The card computes FP11 of the FP32 artifact too, and is told to lose as much.
    drops = [trial.auroc_drop for trial in made.artifact.card.tried]
    assert drops[0] == pytest.approx(drops[1], abs=0.05)
    assert any("not timed" in line for line in told)


def test_the_block_is_that_of_the_programmed_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert block_of("CPU") == block_of(HETERO) == BLOCK
    program("FPGA.0", "2019R1_RC_FP11_ResNet_SqueezeNet_VGG")
    assert block_of("FPGA") == 16
