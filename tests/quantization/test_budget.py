"""A budget of AUROC, with NNCF itself: what is kept for it, what is chosen, what is refused."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openvino as ov
import pytest

from thorax.artifact import Precision
from thorax.devices import core, timing
from thorax.devices.engine import Engine
from thorax.errors import ModelError, UsageError
from thorax.quantization import mixed_precision
from thorax.quantization.accuracy_budget import OnProgress
from thorax.quantization.mixed_precision import kernel_layers
from thorax.quantization.optimize import Optimized, OptimizeOptions, optimize
from thorax.quantization.quantize import quantize
from thorax.results.findings import DeviceFacts

Make = Callable[..., Optimized]


@pytest.fixture
def make(fragile: Any, tmp_path: Path) -> Make:  # noqa: ANN401 - a type of conftest
    def run(
        precision: Precision | str,
        *,
        on_progress: OnProgress | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Optimized:
        return optimize(
            fragile.file,
            tmp_path / "out",
            precision,  # type: ignore[arg-type]
            store=fragile.store,
            description=fragile.described,
            options=OptimizeOptions(**options),
            on_progress=on_progress,
        )

    return run


def test_the_layers_that_int8_hurts_are_found_and_kept(make: Make) -> None:
    told: list[str] = []
    made = make(Precision.INT8, max_auroc_drop=0.05, on_progress=OnProgress(told.append))
    card = made.artifact.card
    # The large channel spoils the activations of one layer and the weights of the one before.
    assert card.kept == ("hurt", "loud")
    left = kernel_layers(ov.Core().read_model(made.artifact.xml), quantised=True)
    assert left == ("stem", "last")
    assert made.result.auroc_drop == card.auroc_drop
    assert card.auroc_drop is not None
    assert 0 <= card.auroc_drop <= 0.05
    assert [trial.kept for trial in card.tried] == [(), ("hurt",), ("hurt", "loud")]
    assert [trial.chosen for trial in card.tried] == [False, False, True]
    assert card.tried[0].auroc_drop > 0.4
    assert "kept in floating point: hurt, loud" in told
    document = made.result.document()
    assert document["kept"] == ["hurt", "loud"]
    assert document["max_auroc_drop"] == 0.05
    assert set(document["auroc_drop_by_finding"]) == set(card.labels)
    drop = document["auroc_drop_interval"]
    assert drop["low"] <= drop["value"] <= drop["high"]


def test_layers_that_the_user_names_are_kept(make: Make) -> None:
    made = make(Precision.INT8, keep=("last", "stem"))
    assert made.artifact.card.kept == ("last", "stem")
    left = kernel_layers(ov.Core().read_model(made.artifact.xml), quantised=True)
    assert left == ("loud", "hurt")


def test_where_noise_names_no_layer_accuracy_control_does(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed_precision, "noisiest", lambda *_: ())
    made = make(Precision.INT8, max_auroc_drop=0.05)
    assert {"hurt", "loud"} <= set(made.artifact.card.kept)
    assert made.result.auroc_drop is not None
    assert made.result.auroc_drop <= 0.05


def test_a_budget_that_nothing_keeps_is_refused_and_nothing_is_written(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed_precision, "MOST_KEPT", 1)
    monkeypatch.setattr(
        mixed_precision, "restore_accuracy", lambda model, store, **_: quantize(model, store)
    )
    with pytest.raises(ModelError) as refused:
        make(Precision.INT8, max_auroc_drop=0.05)
    assert refused.value.code == "auroc-budget"
    assert refused.value.exit_code == 4
    assert "int8 loses 0.5" in refused.value.message
    assert "allowed is 0.05" in refused.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let INT8 be three times as fast, less for each layer that is kept from it."""

    def relative_rates(engines: Sequence[Engine]) -> tuple[float, ...]:
        return tuple(
            3.0 - 0.7 * len(one.artifact.card.kept) if one.precision is Precision.INT8 else 1.0
            for one in engines
        )

    monkeypatch.setattr(timing, "relative_rates", relative_rates)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("budget", "precision", "kept"),
    [
        (0.9, Precision.INT8, ()),
        (0.05, Precision.INT8, ("hurt", "loud")),
        # With all four layers kept INT8 loses nothing, and wins nothing.
        (0.001, Precision.FP16, ()),
        (0.0, Precision.FP32, ()),
    ],
)
def test_auto_chooses_by_the_budget(
    make: Make,
    budget: float,
    precision: Precision,
    kept: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core, "list_devices", lambda: [cpu(*without_bf16())])
    made = make("auto", max_auroc_drop=budget)
    card = made.artifact.card
    assert (card.precision, card.kept) == (precision, kept)
    (chosen,) = (trial for trial in card.tried if trial.chosen)
    assert (chosen.precision, chosen.kept) == (precision, kept)
    assert {trial.precision for trial in card.tried} == set(without_bf16())
    assert made.result.why is not None
    assert made.result.why.startswith(precision.value)
    assert "\n" not in made.result.why


@pytest.mark.usefixtures("clock")
def test_auto_chooses_by_the_device(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without INT8, as its own list of capabilities would say it."""
    monkeypatch.setattr(core, "list_devices", lambda: [cpu(Precision.FP32, Precision.FP16)])
    made = make("auto", max_auroc_drop=0.9)
    assert made.artifact.card.precision is Precision.FP16
    assert made.result.why is not None
    assert re.fullmatch(
        r"fp16: 1\.00x fp32, AUROC drop 0\.000\d of 0\.9 allowed; fp32 as fast, 1\.\dx the size",
        made.result.why,
    )


def cpu(*precisions: Precision) -> DeviceFacts:
    return DeviceFacts(
        name="CPU", full_name="a made-up processor", simulated=False, precisions=precisions
    )


def without_bf16() -> tuple[Precision, ...]:
    return Precision.FP32, Precision.FP16, Precision.INT8


@pytest.mark.parametrize(
    ("precision", "asked", "code"),
    [
        (Precision.FP16, {"keep": ("stem",)}, "keep-precision"),
        (Precision.INT8, {"keep": ("steam",)}, "keep-layer"),
        (Precision.INT8, {"max_auroc_drop": -0.1}, "auroc-budget-range"),
        (Precision.FP16, {"max_auroc_drop": 0.1}, "auroc-budget-data"),
        ("auto", {}, "auroc-budget-data"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_nothing_is_written(
    fragile: Any,  # noqa: ANN401 - a type of conftest
    tmp_path: Path,
    precision: Any,  # noqa: ANN401
    asked: dict[str, Any],
    code: str,
) -> None:
    with pytest.raises(UsageError) as refused:
        optimize(
            fragile.file,
            tmp_path / "out",
            precision,
            store=None if code == "auroc-budget-data" else fragile.store,
            description=fragile.described,
            options=OptimizeOptions(**asked),
        )
    assert refused.value.code == code
    assert list(tmp_path.iterdir()) == []
