import numpy as np
import numpy.typing as npt
import pytest
from tests.fpga import integer_model

from thorax.errors import DataError, UsageError
from thorax.fpga.formats import FORMATS, find_format
from thorax.fpga.numerics import ROUNDINGS, Rounding, quantize

Floats = npt.NDArray[np.float32]


def _column(*values: float) -> Floats:
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


def _fp11(*values: float, block: int = 4, rounding: Rounding = "faithful") -> list[float]:
    found = quantize(_column(*values), block=block, precision="fp11", rounding=rounding)
    return [float(value) for value in found.ravel()]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("block", [4, 8, 16, 32])
@pytest.mark.parametrize("image", [False, True])
def test_it_equals_a_model_in_integers(
    name: str, rounding: Rounding, block: int, image: bool
) -> None:
    form = FORMATS[name]
    x = integer_model.adversarial(2 * 40 * 9 * 9, seed=block).reshape(2, 40, 9, 9)
    found = quantize(x, block=block, precision=form, rounding=rounding, image=image)
    wanted = integer_model.quantize(
        x,
        block=block,
        magnitude=form.magnitude_bits,
        twos_complement=form.twos_complement,
        rounding=rounding,
        image=image,
    )
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), wanted.view(np.uint32))


def test_values_of_six_bits_are_kept_and_the_seventh_rounds_up() -> None:
    assert _fp11(63 / 32, -33 / 32) == [63 / 32, -33 / 32]
    assert _fp11(1 + 1 / 64, -(1 + 1 / 64)) == [1 + 1 / 32, -(1 + 1 / 32)]
    assert _fp11(1 + 1 / 64, -(1 + 1 / 64), rounding="nearest") == [1, -1]


def test_the_largest_of_a_block_decides_what_the_others_keep() -> None:
    # Its unit is 32 / 32 = 1, ties go to even; older overlays drop them.
    assert _fp11(32, 2.5, 3.5, -0.5) == [32, 2, 4, 0]
    assert _fp11(32, 2.5, 3.5, -1.75, rounding="truncate") == [32, 2, 3, -1]
    assert _fp11(32, 2.5, block=1) == [32, 2.5]


def test_the_two_steps_round_twice() -> None:
    # 2.46875 becomes 2.5 with six bits, a tie that goes to 2; 3.484375 becomes 3.5, then 4.
    assert _fp11(32, 3.484375) == [32, 4]
    assert _fp11(32, 3.484375, rounding="nearest") == [32, 3]


def test_a_carry_raises_the_exponent_of_its_block() -> None:
    assert _fp11(127 / 64, 33 / 32) == [2, 1]


def test_blocks_are_channels_of_one_pixel_of_one_image() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((2, 12, 3, 5)).astype(np.float32)
    whole = quantize(x, block=4, precision="fp11")
    for n, first, row, column in np.ndindex(2, 3, 3, 5):
        part = x[n : n + 1, 4 * first : 4 * first + 4, row, column]
        alone = quantize(part, block=4, precision="fp11")
        np.testing.assert_array_equal(whole[n, 4 * first : 4 * first + 4, row, column], alone[0])


def test_channels_behind_the_last_are_zero() -> None:
    x = np.random.default_rng(1).standard_normal((1, 10, 4, 4)).astype(np.float32)
    wide = np.concatenate([x, np.zeros((1, 6, 4, 4), np.float32)], axis=1)
    whole = quantize(wide, block=8, precision="fp11")
    np.testing.assert_array_equal(quantize(x, block=8, precision="fp11"), whole[:, :10])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_what_it_returns_it_leaves_alone_and_binary16_holds(name: str, rounding: Rounding) -> None:
    form = FORMATS[name]
    x = integer_model.adversarial(4096, seed=3).reshape(4, 32, 32)
    once = quantize(x, block=16, precision=name, rounding=rounding)
    twice = quantize(once, block=16, precision=name, rounding=rounding)
    np.testing.assert_array_equal(once, twice)
    # Two's complement that is aligned at once reaches one further below than binary16.
    beyond = np.abs(once) > np.finfo(np.float16).max
    assert beyond.any() == (form.twos_complement and rounding == "nearest")
    assert set(once[beyond].tolist()) <= {-(2.0**16)}
    held = once[~beyond]
    np.testing.assert_array_equal(held, held.astype(np.float16).astype(np.float32))


def test_zeros_lose_their_sign_and_little_numbers_vanish() -> None:
    found = quantize(_column(0.0, -0.0, 2.0**-15, -(2.0**-14)), block=4, precision="fp11")
    assert found.ravel().tolist() == [0, 0, 0, -(2.0**-14)]
    assert not np.signbit(found[0, :3]).any()


def test_what_is_too_large_becomes_the_largest() -> None:
    for name, form in FORMATS.items():
        found = quantize(_column(1e30, -np.inf, 65504), block=1, precision=name)
        assert found.ravel().tolist() == [form.largest, -form.largest, form.largest]


def test_twos_complement_reaches_one_further_below() -> None:
    x = _column(-1.9999, 1.9999)
    found = quantize(x, block=2, precision="fp12agx", rounding="nearest")
    assert found.ravel().tolist() == [-2, 127 / 64]


def test_an_image_is_cut_where_other_tensors_are_rounded() -> None:
    x = _column(1 + 31 / 1024)
    assert quantize(x, block=1, precision="fp11", image=True).item() == 1
    assert quantize(x, block=1, precision="fp11").item() == 1 + 1 / 32


def test_fewer_bits_err_more() -> None:
    x = np.random.default_rng(2).standard_normal((4, 64, 8, 8)).astype(np.float32)
    errors = [float(np.square(quantize(x, block=16, precision=n) - x).mean()) for n in FORMATS]
    assert errors == sorted(errors)
    # A bit is 6 dB: from 11 to 3 bits the squared error grows about 4 ** 8 times.
    assert 4**7 < errors[-1] / errors[0] < 4**9


def test_what_is_no_number_or_no_option_is_refused() -> None:
    x = _column(1.0, np.nan)
    with pytest.raises(DataError, match="fpga-nan"):
        quantize(x, block=2, precision="fp11")
    with pytest.raises(UsageError, match=r"fpga-block.*0"):
        quantize(_column(1), block=0, precision="fp11")
    with pytest.raises(UsageError, match=r"fpga-rounding.*'up'"):
        quantize(_column(1), block=1, precision=find_format("fp11"), rounding="up")  # type: ignore[arg-type]
