"""Area of an overlay: modelled, fitted to published designs, never synthesised.

Fitted to the six designs for Arria 10 of the FPGA AI Suite IP Reference Manual (768974, 2023.1,
s. 2.2), one of them A10_Small without softmax. Their vector sizes are deduced from their DSP
blocks, the depths of their stream buffers but one from their memory blocks; docs/fpga.md tells how
far the fit lies off. What those designs do not have (products in logic, fixed-point accumulators,
weights of two or three values) is assumed.
"""

import math
from typing import Final

from thorax.fpga.architecture import Architecture, Budget
from thorax.fpga.formats import EXPONENT_BITS, FORMATS
from thorax.results.fpga import Resources

_M20K_WIDTH: Final = 40
_M20K_WORDS: Final = 512
"""A memory block at its widest (Intel, Arria 10 Core Fabric Handbook, A10-HANDBOOK)."""

_M20K_REST: Final = 142
_M20K_SOFTMAX: Final = 8
"""Calibrated: DMA, FIFOs, configuration and kernels; and what softmax adds."""

_ALM_REST: Final = 10_048
_ALM_KERNELS: Final = 6_240
_ALM_PRODUCT_BIT: Final = 2.597
_ALM_LANE: Final = 53.9
_ALM_SOFTMAX: Final = 1_200
"""Calibrated: control and DMA; activation and pooling beyond a rectifier; alignment and sums, for
each product and bit of its magnitude; each output of the array; softmax."""

_DSP_SOFTMAX: Final = 10
_ALM_ACCUMULATOR: Final = 42
"""Assumed: an adder and a shifter of the 42 bits of the 2019 accumulator, two bits an ALM."""


def fits(taken: Resources, budget: Budget | Resources) -> bool:
    """Return whether a device has as much as a design takes."""
    return taken.dsp <= budget.dsp and taken.m20k <= budget.m20k and taken.alm <= budget.alm


def area(architecture: Architecture) -> Resources:
    """Return what an architecture takes of its device.

    Example:
        >>> area(find_architecture("a10-performance-fp11"))
        Resources(dsp=602, m20k=918, alm=52848)
    """
    products = architecture.macs_per_cycle
    lanes = architecture.p_vector * architecture.q_vector * architecture.k_vector
    multipliers = 0
    if architecture.weights == "block":
        multipliers = math.ceil(products / products_per_dsp(architecture))
        if architecture.dsp_limit is not None:
            multipliers = min(multipliers, architecture.dsp_limit)
    in_logic = max(0, products - multipliers * products_per_dsp(architecture))
    return Resources(
        dsp=multipliers + _other_dsp(architecture, lanes),
        m20k=stream_buffer_m20k(architecture) + _other_m20k(architecture),
        alm=math.ceil(_alm(architecture, products, in_logic, lanes)),
    )


def products_per_dsp(architecture: Architecture) -> int:
    """Return how many products of two magnitudes one DSP block makes.

    p-bit magnitudes fit 1 + floor((w - p) / 2p) times into one multiplier of w bits where they
    share an operand (derived): w = 18, two a block, on Arria 10; w = 9, four a block, on Agilex,
    and w = 18 there for what is wider. It gives the vendor's 4 of FP11 and 2 of FP16.
    """
    bits = FORMATS[architecture.precision].magnitude_bits
    count, width = (2, 18) if architecture.family == "arria10" or bits > 9 else (4, 9)
    return count * (1 + (width - bits) // (2 * bits))


def stream_buffer_m20k(architecture: Architecture) -> int:
    """Return the memory blocks of the stream buffer: words of blocks with their exponents."""
    blocks = architecture.p_vector * architecture.q_vector
    word = blocks * (architecture.c_vector * architecture.value_bits + EXPONENT_BITS)
    return math.ceil(architecture.stream_buffer_depth / _M20K_WORDS) * _columns(word)


def _other_m20k(architecture: Architecture) -> int:
    word = architecture.c_vector * architecture.weight_bits + EXPONENT_BITS
    rows = math.ceil(architecture.filter_cache_depth / _M20K_WORDS)
    softmax = _M20K_SOFTMAX if architecture.auxiliary.softmax else 0
    return architecture.k_vector * _columns(word) * rows + _M20K_REST + softmax


def _columns(bits: int) -> int:
    return math.ceil(bits / _M20K_WIDTH)


def _other_dsp(architecture: Architecture, lanes: int) -> int:
    auxiliary, activations = architecture.auxiliary, architecture.ranges.activations
    total = lanes if architecture.accumulator == "fp32" else 0
    total += _DSP_SOFTMAX if auxiliary.softmax else 0
    # A slope multiplies; two channels share a block.
    return total + (math.ceil(auxiliary.activation_k / 2) if "PRelu" in activations else 0)


def _alm(architecture: Architecture, products: int, in_logic: int, lanes: int) -> float:
    bits = FORMATS[architecture.precision].magnitude_bits
    total = _ALM_REST + _ALM_LANE * lanes
    if set(architecture.ranges.activations) - {"Relu"}:
        total += _ALM_KERNELS
    if architecture.auxiliary.softmax:
        total += _ALM_SOFTMAX
    if architecture.accumulator == "fixed":
        total += _ALM_ACCUMULATOR * lanes
    if architecture.weights != "block":
        # Assumed: a value that is negated or not, and a node of the tree of sums.
        zero = 1 if architecture.weights == "ternary" else 0
        return total + products * (bits + 1 + zero)
    # Assumed: half a row of adders for each bit of a product in logic.
    return total + _ALM_PRODUCT_BIT * bits * products + in_logic * (bits * bits / 2 + bits + 1)
