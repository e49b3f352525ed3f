"""Windows, LUTs and rescales that contradict themselves: the right picture, and a warning."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.dicoms import dicom, item, ramp, refusal, shown, warned

from thorax.images.radiograph import read


def as_windowed(center: float, width: float) -> npt.NDArray[np.float32]:
    return shown(dicom(ramp(12), BitsStored=12, WindowCenter=center, WindowWidth=width))


USELESS: list[dict[str, Any]] = [
    {"WindowCenter": 0, "WindowWidth": 0},
    {"WindowCenter": 2048, "WindowWidth": -4096},
    {"WindowCenter": 2048, "WindowWidth": 0.5},
    {"WindowCenter": 50000, "WindowWidth": 1000},
    {"WindowCenter": -50000, "WindowWidth": 1000},
    {"WindowCenter": 50000, "WindowWidth": 1000, "VOILUTFunction": "SIGMOID"},
    {"WindowCenter": [0, 90000], "WindowWidth": [0, 1]},
    {"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CUBIC"},
    {"VOILUTSequence": item(LUTDescriptor=[4096, 0, 16], LUTData=[1, 2, 3])},
    {"VOILUTSequence": item(LUTDescriptor=[3, 0, 8], LUTData=[7, 7, 7])},
    {"VOILUTSequence": item(LUTExplanation="none")},
    {"VOILUTSequence": item(LUTDescriptor=[0, 0, 16], LUTData=None)},
]


@pytest.mark.parametrize("attributes", USELESS)
def test_a_window_that_shows_nothing_is_passed_over_and_told(attributes: dict[str, Any]) -> None:
    radiograph = read(dicom(ramp(12), BitsStored=12, **attributes))
    assert "dicom-window-unusable" in warned(radiograph)
    assert radiograph.meaning.contrast == "range"
    assert np.array_equal(radiograph.pixels, shown(dicom(ramp(12), BitsStored=12)))
    if "WindowCenter" not in attributes:
        windowed = {**attributes, "WindowCenter": 1000, "WindowWidth": 1500}
        radiograph = read(dicom(ramp(12), BitsStored=12, **windowed))
        assert radiograph.meaning.contrast == "window"
        assert np.array_equal(radiograph.pixels, as_windowed(1000, 1500))


@pytest.mark.parametrize(
    ("center", "width"), [([0, 1000], [0, 1500]), ([9e4, 0, 1000, 7], [5, 0, 1500, 99])]
)
def test_the_first_window_that_can_be_used_is(center: list[float], width: list[float]) -> None:
    radiograph = read(dicom(ramp(12), BitsStored=12, WindowCenter=center, WindowWidth=width))
    assert radiograph.meaning.contrast == "window"
    assert np.array_equal(radiograph.pixels, as_windowed(1000, 1500))
    assert "dicom-window-unusable" in warned(radiograph)


def test_a_window_of_no_numbers_is_passed_over() -> None:
    plain = dicom(ramp(12), BitsStored=12, WindowCenter="5555", WindowWidth="7777")
    for bad in (b"nan ", b"inf ", b"-inf", b"abcd"):
        for good in (b"5555", b"7777"):
            radiograph = read(plain.replace(good, bad))
            assert radiograph.meaning.contrast == "range"
            assert warned(radiograph) == ["dicom-window-unusable"]


def test_a_narrow_window_of_close_values_is_exact() -> None:
    small: dict[str, Any] = {"BitsStored": 12, "RescaleSlope": 0.0001, "RescaleIntercept": 0}
    radiograph = read(dicom(ramp(12), WindowCenter=0.2, WindowWidth=0.3, **small))
    expected = np.clip((ramp(12) * 0.0001 - 0.2) / 0.3 + 0.5, 0, 1)
    assert np.abs(radiograph.pixels - expected).max() < 1e-6
    assert not warned(radiograph)


def test_decimal_commas_are_points() -> None:
    plain = dicom(ramp(12), BitsStored=12, WindowCenter="1000.5", WindowWidth="1500.0")
    comma = plain.replace(b"1000.5", b"1000,5").replace(b"1500.0", b"1500,0")
    assert np.array_equal(shown(comma), shown(plain))
    assert warned(read(comma)) == ["dicom-number-corrected"]
    pair = dicom(ramp(12), BitsStored=12, WindowCenter=["0.0", "9.5"], WindowWidth=["0.0", "99.5"])
    points = shown(pair)
    assert np.array_equal(shown(pair.replace(b"0.0\\9", b"0,0\\9").replace(b"9.5", b"9,5")), points)
    scaled = dicom(ramp(12), BitsStored=12, RescaleSlope="1.25", WindowCenter=9, WindowWidth=900)
    assert np.array_equal(shown(scaled.replace(b"1.25", b"1,25")), shown(scaled))


def test_a_slope_of_zero_is_no_rescale() -> None:
    radiograph = read(dicom(ramp(12), BitsStored=12, RescaleSlope=0, RescaleIntercept=7))
    assert np.array_equal(radiograph.pixels, shown(dicom(ramp(12), BitsStored=12)))
    assert warned(radiograph) == ["dicom-rescale-ignored"]


@pytest.mark.parametrize(("says", "has"), [(16, 12), (12, 16), (99, 10), (16, 8)])
def test_a_voi_lut_is_of_the_bits_of_its_entries(says: int, has: int) -> None:
    curve = (np.linspace(0, 1, 4096) ** 0.5 * (2**has - 1)).astype(np.uint16)
    luts = item(LUTDescriptor=[4096, 0, says], LUTData=curve.tolist())
    radiograph = read(dicom(ramp(12), BitsStored=12, VOILUTSequence=luts))
    assert np.abs(radiograph.pixels - curve[ramp(12)] / (2**has - 1)).max() < 1e-6
    assert warned(radiograph) == ["dicom-lut-corrected"]
    assert radiograph.meaning.contrast == "voi-lut"


@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("entries", [4095, 4097])
def test_a_lut_of_other_entries_than_it_says_shows_what_it_has(keyword: str, entries: int) -> None:
    curve = np.arange(entries).clip(0, 4095).tolist()
    luts: dict[str, Any] = {keyword: item(LUTDescriptor=[4096, 0, 12], LUTData=curve)}
    radiograph = read(dicom(ramp(12), BitsStored=12, **luts))
    luts = {keyword: item(LUTDescriptor=[4096, 0, 12], LUTData=list(range(4096)))}
    assert np.abs(radiograph.pixels - shown(dicom(ramp(12), BitsStored=12, **luts))).max() < 3e-4
    assert warned(radiograph) == ["dicom-lut-corrected"]


@pytest.mark.parametrize(
    "lut",
    [
        item(ModalityLUTType="US"),
        item(LUTDescriptor=[4096, 0, 16], LUTData=[1, 2, 3]),
        item(LUTDescriptor=[3, 0], LUTData=[1, 2, 3]),
    ],
)
def test_values_that_cannot_be_known_are_refused(lut: Any) -> None:  # noqa: ANN401
    assert refusal(dicom(ramp(12), ModalityLUTSequence=lut)) == "dicom-lut"


def test_a_presentation_lut_is_of_what_is_shown() -> None:
    curve = (np.linspace(0, 1, 4096) ** 2 * 4095).astype(np.uint16)
    luts = item(LUTDescriptor=[4096, 0, 12], LUTData=curve.tolist())
    ours = shown(dicom(ramp(12), BitsStored=12, PresentationLUTSequence=luts))
    plain = shown(dicom(ramp(12), BitsStored=12))
    assert np.abs(ours - plain**2).max() < 1e-3


def test_an_empty_modality_lut_is_passed_over() -> None:
    attributes: dict[str, Any] = {"LUTDescriptor": [4096, 0, 16], "LUTData": []}
    window: dict[str, Any] = {"WindowCenter": 2048, "WindowWidth": 4096, "BitsStored": 12}
    radiograph = read(dicom(ramp(12), ModalityLUTSequence=item(**attributes), **window))
    assert np.array_equal(radiograph.pixels, shown(dicom(ramp(12), **window)))
    assert warned(radiograph) == ["dicom-lut-corrected"]


def test_many_windows_that_cannot_be_used_are_told_once() -> None:
    made = dicom(ramp(8), WindowCenter=[0] * 5000, WindowWidth=[0] * 5000)
    (warning,) = read(made).meaning.warnings
    assert warning.message == "window 1 is 0 wide (and 4,999 more of this kind)"
