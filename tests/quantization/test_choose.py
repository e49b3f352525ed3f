"""Which precision is taken: the fastest within the budget, and why, on one line."""

import pytest

from thorax.artifact import Precision
from thorax.devices import core
from thorax.errors import DeviceError
from thorax.quantization.choose import Timed, pick, precisions, reasons, sentence
from thorax.results.findings import DeviceFacts

FP32 = Timed(Precision.FP32, (), 0.0, 1.0, 94_000_000)
FP16 = Timed(Precision.FP16, (), 0.0000, 1.01, 47_000_000)
BF16 = Timed(Precision.BF16, (), 0.0004, 1.9, 47_000_000)
INT8 = Timed(Precision.INT8, (), 0.0015, 2.8, 24_000_000)
REPAIRED = Timed(Precision.INT8, ("conv1", "layer1.0.conv1"), 0.0002, 2.4, 28_000_000)


@pytest.mark.parametrize(
    ("budget", "wanted"),
    [(0.002, INT8), (0.001, REPAIRED), (0.0001, FP16), (0.0, FP16)],
)
def test_the_fastest_within_the_budget_is_taken(budget: float, wanted: Timed) -> None:
    timed = [FP32, FP16, BF16, INT8, REPAIRED]
    assert timed[pick(timed, budget)] is wanted


def test_what_timing_cannot_tell_apart_goes_to_the_smaller_then_to_the_more_exact() -> None:
    level = [Timed(one.precision, (), one.drop, 1.0, one.size_bytes) for one in (FP32, FP16, BF16)]
    assert pick(level, 0.002) == 1
    slower = Timed(Precision.FP16, (), 0.0, 0.96, 47_000_000)
    assert pick([FP32, slower], 0.002) == 0


def test_a_choice_explains_itself_on_one_line() -> None:
    timed = [FP32, FP16, INT8]
    assert sentence(timed, 2, 0.002) == (
        "int8: 2.80x fp32, AUROC drop 0.0015 of 0.002 allowed; fp32 1.00x; fp16 1.01x"
    )
    assert sentence(timed, 1, 0.001) == (
        "fp16: 1.01x fp32, AUROC drop 0.0000 of 0.001 allowed; "
        "fp32 as fast, 2.0x the size; int8 loses 0.0015"
    )
    assert "int8 with 2 layers in floating point: 2.40x" in sentence(
        [FP32, INT8, REPAIRED], 2, 1e-3
    )


def test_every_candidate_has_a_reason() -> None:
    timed = [FP32, FP16, BF16, INT8]
    assert reasons(timed, 1, 0.0) == [
        "as fast, 2.0x the size",
        "the fastest within the budget",
        "loses 0.0004",
        "loses 0.0015",
    ]


@pytest.mark.parametrize(
    ("computed", "wanted"),
    [
        (("FP32",), (Precision.FP32, Precision.FP16)),
        (("FP32", "INT8"), (Precision.FP32, Precision.FP16, Precision.INT8)),
        (
            ("FP32", "BF16", "INT8"),
            (Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8),
        ),
    ],
)
def test_what_is_tried_is_what_the_device_computes(
    computed: tuple[str, ...], wanted: tuple[Precision, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "list_devices", lambda: [device("CPU", *wanted)])
    assert precisions("CPU") == wanted


def device(name: str, *computed: Precision) -> DeviceFacts:
    return DeviceFacts(
        name=name, full_name=f"a made-up {name}", simulated=False, precisions=computed
    )


def test_devices_that_share_the_work_share_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = tuple(one for one in Precision if one is not Precision.FP11)
    listed = [device("GPU", *everything), device("CPU", Precision.FP32, Precision.FP16)]
    monkeypatch.setattr(core, "list_devices", lambda: listed)
    assert precisions("GPU") == everything
    assert precisions("HETERO:GPU,CPU") == (Precision.FP32, Precision.FP16)


@pytest.mark.usefixtures("cards")
def test_one_card_in_a_list_is_enough_for_fp11() -> None:
    floating = (Precision.FP32, Precision.FP16)
    assert precisions("HETERO:FPGA,CPU") == (*floating, Precision.FP11)
    assert Precision.FP11 not in precisions("CPU")


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(DeviceError):
        precisions("ABACUS")
