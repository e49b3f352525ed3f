"""The grey-scale table against pydicom's own stages and the formulas of the standard."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi_lut

from thorax.images.greyscale import Chain, Lut, Window, look_up, patterns_seen

EVERY12 = np.ones(4096, np.bool_)


def test_eight_bits_stay_what_they_are() -> None:
    table = Chain(8).show(np.ones(256, np.bool_)).table
    assert table.dtype == np.uint8
    assert table.tolist() == list(range(256))
    assert Chain(8, voi=(Window(128, 256),)).show(np.ones(256, np.bool_)).table.tolist() == list(
        range(256)
    )
    assert Chain(8, inverted=True).show(np.ones(256, np.bool_)).table.tolist() == list(
        range(255, -1, -1)
    )


@pytest.mark.parametrize(
    ("function", "center", "width"),
    [
        (function, center, width)
        for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID")
        for center, width in ((2048, 4096), (600.5, 77), (30, 1), (4000, 0.5))
        if function != "LINEAR" or width >= 1
    ],
)
def test_windows_are_pydicoms(function: str, center: float, width: float) -> None:
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored = 12
    dataset.PixelRepresentation = 0
    dataset.WindowCenter = center
    dataset.WindowWidth = width
    dataset.VOILUTFunction = function
    stored = np.arange(4096, dtype=np.float64)
    with np.errstate(over="ignore"):
        theirs = apply_voi_lut(stored, dataset) / 4095
    ours = Chain(12, voi=(Window(center, width, function),)).show(EVERY12).table
    scale = 255 if ours.dtype == np.uint8 else 1
    assert np.abs(ours / scale - theirs).max() < 1e-6


def test_a_range_ignores_padding_and_padding_is_black() -> None:
    codes = np.array([[0, 100, 150, 200, 4095]], np.uint16)
    seen = patterns_seen(codes, 12)
    for inverted in (False, True):
        chain = Chain(12, inverted=inverted, padding=(4000, 4095))
        shown = look_up(codes, chain.show(seen).table)
        expected = np.array([0, 0.5, 0.75, 1])
        assert shown[0, -1] == 0
        assert np.allclose(shown[0, :4], 1 - expected if inverted else expected)


def test_signed_values_are_ordered_by_sign() -> None:
    codes = np.array([[0x800, 0xFFF, 0x000, 0x7FF]], np.uint16)  # -2048, -1, 0, 2047
    shown = look_up(codes, Chain(12, signed=True).show(patterns_seen(codes, 12)).table)
    assert np.allclose(shown, (np.array([[-2048, -1, 0, 2047]]) + 2048) / 4095)


def test_luts_clip_at_both_ends_and_win_over_rescale() -> None:
    lut = Lut(100, np.array([0, 51, 255], np.uint16))
    codes = np.array([[0, 100, 101, 102, 4095]], np.uint16)
    shown = look_up(codes, Chain(12, slope=9, intercept=5, modality=lut).show(EVERY12).table)
    assert np.allclose(shown / 255, [[0, 0, 0.2, 1, 1]])
    shown = look_up(codes, Chain(12, intercept=-1, voi=(lut,)).show(EVERY12).table)
    assert np.allclose(shown / 255, [[0, 0, 0, 0.2, 1]])


def test_a_window_sees_rescaled_values() -> None:
    plain = Chain(12, voi=(Window(500, 1000),)).show(EVERY12).table
    scaled = (
        Chain(12, slope=2, intercept=-1000, voi=(Window(-0.5, 1999, "LINEAR"),)).show(EVERY12).table
    )
    assert np.abs(plain - scaled).max() < 1e-3


def test_one_value_alone_is_neither_black_nor_white() -> None:
    codes = np.full((3, 3), 77, np.uint16)
    for inverted in (False, True):
        table = Chain(12, inverted=inverted).show(patterns_seen(codes, 12)).table
        assert np.all(look_up(codes, table) == 0.5)


def test_long_images_are_looked_up_in_stretches() -> None:
    codes = np.arange(3 << 20, dtype=np.uint32).astype(np.uint16).reshape(3, -1)
    table = np.random.default_rng(0).random(65536, np.float32)
    assert np.array_equal(look_up(codes, table), table[codes])
    assert patterns_seen(codes, 16).all()


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("center", [-9000.0, 60000.0])
def test_what_shows_nothing_is_passed_over(function: str, center: float) -> None:
    useful = Window(2000, 3000)
    shown = Chain(12, voi=(Window(center, 50, function), useful)).show(EVERY12)
    assert shown.useless == (0,)
    assert shown.contrast == "window"
    assert np.array_equal(shown.table, Chain(12, voi=(useful,)).show(EVERY12).table)
    shown = Chain(12, voi=(Window(center, 50, function), Lut(0, EVERY12 * np.uint16(7)))).show(
        EVERY12
    )
    assert (shown.useless, shown.contrast) == ((0, 1), "range")


def test_an_image_of_one_value_is_shown_by_its_window() -> None:
    seen = patterns_seen(np.full((3, 3), 77, np.uint16), 12)
    shown = Chain(12, voi=(Window(3000, 100),)).show(seen)
    assert (shown.useless, shown.contrast) == ((), "window")
    assert shown.table[77] == 0
