"""The block format once more, in integers on the bits of binary32."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def _nearest_even(mantissa: Ints, shift: Ints) -> Ints:
    """Return mantissa >> shift, what is shifted out rounded to nearest, ties to even."""
    shift = np.minimum(shift, 60)
    kept = mantissa >> shift
    rest = mantissa - (kept << shift)
    half = np.where(shift > 0, 1 << np.maximum(shift - 1, 0), 1 << 61)
    up = (rest > half) | ((rest == half) & (kept & 1 == 1))
    rounded: Ints = kept + up
    return rounded


def _normal(mantissa: Ints, exponent: Ints, bits: int) -> tuple[Ints, Ints]:
    carried = mantissa == 1 << bits
    return np.where(carried, mantissa >> 1, mantissa), exponent + carried


def _unpack(x: npt.NDArray[np.float32]) -> tuple[Ints, Ints, Ints]:
    """Return sign, 24 bits and the exponent as binary16 would bias it."""
    bits = x.view(np.uint32).astype(np.int64)
    exponent, fraction = (bits >> 23) & 255, bits & 0x7FFFFF
    mantissa = np.where(exponent > 0, fraction | (1 << 23), fraction)
    return bits >> 31, mantissa, np.maximum(exponent, 1) - 127 + 15


def quantize(
    x: npt.NDArray[np.float32],
    *,
    block: int,
    magnitude: int,
    twos_complement: bool,
    rounding: str,
    image: bool = False,
) -> npt.NDArray[np.float32]:
    """Return float32 [N,C,...] as `thorax.fpga.numerics.quantize` should."""
    channels = x.shape[1]
    padded = np.concatenate(
        [x, np.zeros((x.shape[0], -channels % block, *x.shape[2:]), np.float32)], axis=1
    )
    view = np.ascontiguousarray(padded.reshape(x.shape[0], -1, block, *x.shape[2:]))
    sign, mantissa, exponent = _unpack(view)
    top = (1 << magnitude) - 1
    if rounding == "nearest":
        least = np.where(mantissa > 0, exponent, 1).max(axis=2, keepdims=True)
        shared = np.clip(least, 1, 30)
        shift = shared - exponent + 24 - magnitude
        q = np.where(shift >= 0, _nearest_even(mantissa, np.maximum(shift, 0)), 1 << 40)
        most = np.where((sign == 1) & twos_complement, top + 1, top)
        q = np.minimum(q, most)
    else:
        half, e = _normal(_nearest_even(mantissa, np.full_like(mantissa, 13)), exponent, 11)
        huge = e > 30
        half, e = np.where(huge, 2047, half), np.where(huge, 30, e)
        half = np.where((e < 1) | (half < 1 << 10), 0, half)
        dropped = 11 - magnitude
        nudge = 0 if image or not dropped else 1 << (dropped - 1)
        scalar, e = _normal((half + nudge) >> dropped, e, magnitude)
        huge = e > 30
        scalar, e = np.where(huge, top, scalar), np.where(huge, 30, e)
        shared = np.where(scalar > 0, e, 1).max(axis=2, keepdims=True)
        shift = np.where(scalar > 0, shared - e, 0)
        cut = rounding == "truncate"
        q = scalar >> np.minimum(shift, 60) if cut else _nearest_even(scalar, shift)
    value = np.ldexp(np.where(sign == 1, -q, q).astype(np.float64), shared - 15 + 1 - magnitude)
    flat = value.reshape(x.shape[0], -1, *x.shape[2:])[:, :channels] + 0.0
    found: npt.NDArray[np.float32] = flat.astype(np.float32)
    return found


def adversarial(count: int, seed: int) -> npt.NDArray[np.float32]:
    """Return float32 [count]: every exponent, ties and their neighbours, extremes, zeros."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 1 << 32, count, dtype=np.uint64).astype(np.uint32)
    kind = random.integers(0, 8, count)
    # A block spans few exponents in networks; here half of the values lie close together.
    near = random.integers(118, 124, count).astype(np.uint32)
    bits = np.where(kind < 4, (bits & 0x807FFFFF) | (near << 23), bits)
    # Few bits set: ties of each rounding, and one unit in the last place beside them.
    few = bits & np.uint32(0xFFFC0000)
    nudged = few + random.integers(-1, 2, count).astype(np.int64).astype(np.uint32)
    bits = np.where((kind == 1) | (kind == 5), few, np.where(kind == 2, nudged, bits))
    # About the least normal number of binary16 and about its largest.
    edge = np.where(random.random(count) < 0.5, 112, 142).astype(np.uint32)
    edge = edge + random.integers(-2, 3, count).astype(np.int64).astype(np.uint32)
    bits = np.where(kind == 6, (bits & 0x807FFFFF) | (edge << 23), bits)
    values = bits.view(np.float32).copy()
    values[np.isnan(values)] = np.float32(np.inf)
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, 65504, 65520, -65504, 64512, 65023.99, 65024, 2.0**-14,
         2.0**-14 * (1 - 2.0**-12), 2.0**-14 * (1 - 2.0**-13), 1e-45, 3.4e38, -3.4e38],
        np.float32,
    )  # fmt: skip
    chosen = random.random(count) < 0.02
    values[chosen] = random.choice(special, int(chosen.sum()))
    return values
