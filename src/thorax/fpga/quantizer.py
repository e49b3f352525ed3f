"""One tensor brought to block floating point by standard OpenVINO operations, to the bit.

Floating-point tricks stand for the bit operations that OpenVINO lacks. Veltkamp's splitting rounds
to k bits (Dekker, Numerische Mathematik 18, 1971); adding and taking away 1.5 * 2^n rounds to
multiples of a power of two; ties go to even in both. Compilers contract a product and a sum to one
FMA where they may: every product here is exact or has two consumers, so that nothing changes.

The largest exponent of a block comes without a reduction over channels, which would force tensors
to be laid out anew: with u the power of two at or below a magnitude, the sum of u^8 over a block
lies in [M^8, b M^8], M the largest u and b the channels. Its eighth root is within a factor of
b^(1/8) of M, and rounding it to one bit leaves M alone. The sum is a 1x1 convolution with ones,
which CPUs run in the layout that their convolutions use, and it puts M beside every channel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops

from thorax.fpga.formats import LEAST_EXPONENT, Format
from thorax.fpga.numerics import HALF_BITS, HALF_LARGEST, Rounding

_SIGNIFICAND_BITS: Final = 24
"""Of binary32, the leading one included."""
_LEAST: Final = 2.0**LEAST_EXPONENT
_BELOW: Final = 0.8
"""Brings [1, 128^(1/8)] into [0.75, 1.5), all of which rounds to 1 with one bit."""

Operand: TypeAlias = ov.Output | float | np.ndarray[Any, Any]
"""Of an operation: a tensor, or what becomes a constant."""
Option: TypeAlias = bool | float | list[int]
"""Of an operation."""


Floats: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FlatMap:
    """A map of channels that a row holds before a fully connected layer.

    `channels_last` is whether the channels of a pixel lie together, not the pixels of a channel.
    """

    pixels: int
    channels_last: bool = False

    def unfold(self, rows: Floats) -> Floats:
        """Return [N,C,P] of [N,C*P], or of [N,P*C]."""
        if self.channels_last:
            return np.swapaxes(rows.reshape(len(rows), self.pixels, -1), 1, 2)
        return rows.reshape(len(rows), -1, self.pixels)

    def fold(self, maps: Floats) -> Floats:
        """Return the rows that `unfold` made maps of."""
        turned = np.swapaxes(maps, 1, 2) if self.channels_last else maps
        return turned.reshape(len(maps), -1)


@dataclass(slots=True)
class Quantizer:
    """Adds the nodes that quantize a tensor.

    `prefix`, unique in the graph, begins the friendly `names` of the nodes added, which have this
    affinity, None for none; of `rounding` see `Rounding`. `image` is whether the tensor is the
    network's input, `signed` whether values below zero may occur.
    """

    prefix: str
    affinity: str | None
    form: Format
    rounding: Rounding
    image: bool
    signed: bool
    names: list[str] = field(default_factory=list, init=False)

    def insert(
        self, x: ov.Output, *, block: int, groups: int = 1, flat: FlatMap | None = None
    ) -> ov.Output:
        """Return x in the block format.

        x is float32 [N,C,H,W] or [N,C], static; `block` channels share an exponent, and blocks do
        not cross `groups` of channels. `flat` is the map that the rows of x [N,C*P] hold; None
        where they hold channels.
        """
        if flat is None:
            return self._blocks(x, block, groups)
        rows, values = (int(length) for length in x.get_shape())
        channels = values // flat.pixels
        view = [rows * flat.pixels, channels]
        if not flat.channels_last:
            view = [rows, channels, flat.pixels, 1]
        rounded = self._blocks(self._reshaped(x, view), block, groups)
        return self._reshaped(rounded, [rows, values])

    def _blocks(self, x: ov.Output, block: int, groups: int) -> ov.Output:
        widths = _widths(int(x.get_shape()[1]), block, groups)
        if self.rounding == "nearest":
            shared = self._shared(self._floor(x), widths)
            return self._saturated(self._to_multiples(x, shared), shared)
        scalars = self.scalars(x)
        shared = self._shared(self._power(self._magnitude(scalars)), widths)
        if self.rounding == "truncate":
            return self._cut(scalars, shared)
        return self._to_multiples(scalars, shared)

    def _node(
        self, operation: Callable[..., ov.Node], *operands: Operand, **options: Option
    ) -> ov.Output:
        values = [
            self._constant(value) if isinstance(value, float | np.ndarray) else value
            for value in operands
        ]
        return self._named(operation(*values, **options))

    def _constant(self, value: float | np.ndarray[Any, Any]) -> ov.Output:
        array = np.float32(value) if isinstance(value, float) else value
        return self._named(ops.constant(array))

    def _named(self, node: ov.Node) -> ov.Output:
        name = f"{self.prefix}/{len(self.names)}.{node.get_type_name()}"
        node.set_friendly_name(name)
        if self.affinity is not None:
            node.get_rt_info()["affinity"] = self.affinity
        self.names.append(name)
        return node.output(0)

    def _rounded(self, x: ov.Output, bits: int) -> ov.Output:
        """Return x of so many significant bits, by Veltkamp's splitting."""
        scaled = self._node(ops.multiply, x, 2.0 ** (_SIGNIFICAND_BITS - bits) + 1)
        rest = self._node(ops.subtract, scaled, x)
        return self._node(ops.subtract, scaled, rest)

    def _magnitude(self, x: ov.Output) -> ov.Output:
        return self._node(ops.absolute, x) if self.signed else x

    def scalars(self, x: ov.Output) -> ov.Output:
        """Return x in binary16, then each value of the bits of a magnitude of the format.

        What is larger than the format's largest becomes it either way, so one bound does for both.
        """
        bits, most = self.form.magnitude_bits, self.form.largest
        if self.signed:
            bounded = self._node(ops.clamp, x, min_value=-most, max_value=most)
        else:
            bounded = self._node(ops.minimum, x, most)
        half = self._rounded(bounded, HALF_BITS)
        normal = self._node(ops.greater_equal, self._magnitude(half), _LEAST)
        half = self._node(ops.select, normal, half, 0.0)
        if bits == HALF_BITS:
            return half
        if self.image:
            near = self._rounded(half, bits)
            over = self._node(ops.greater, self._magnitude(near), self._magnitude(half))
            # The neighbour towards zero, the one below a power of two included.
            less = self._node(ops.multiply, near, 1 - 2.0**-bits)
            return self._node(ops.select, over, self._rounded(less, bits), near)
        # Ties round up: what binary16 leaves behind a tie is more than this.
        nudged = self._node(ops.multiply, half, 1 + 2.0 ** -(_SIGNIFICAND_BITS - HALF_BITS))
        return self._rounded(nudged, bits)

    def _power(self, magnitude: ov.Output) -> ov.Output:
        """Return the power of two at or below magnitudes of few bits, at least the least normal."""
        bits = self.form.magnitude_bits
        bounded = self._node(ops.maximum, magnitude, _LEAST)
        # [1, 2 - 2^(1-bits)] times this lies in (0.75, 1.5).
        below = self._node(ops.multiply, bounded, 0.75 * (1 + 2.0 ** -(bits + 1)))
        return self._rounded(below, 1)

    def _floor(self, x: ov.Output) -> ov.Output:
        """Return the power of two at or below magnitudes of 24 bits, at least the least normal."""
        low, high = float(_LEAST), HALF_LARGEST
        bounded = self._node(ops.clamp, self._magnitude(x), min_value=low, max_value=high)
        near = self._rounded(bounded, 1)
        over = self._node(ops.greater, near, bounded)
        return self._node(ops.select, over, self._node(ops.multiply, near, 0.5), near)

    def _shared(self, powers: ov.Output, widths: Sequence[int]) -> ov.Output:
        """Return the largest power of two of each block, beside every channel of it."""
        if set(widths) == {1}:
            return powers
        eighth = powers
        for _ in range(3):
            eighth = self._node(ops.multiply, eighth, eighth)
        root = self._sums(eighth, widths)
        for _ in range(3):
            root = self._node(ops.sqrt, root)
        return self._rounded(self._node(ops.multiply, root, _BELOW), 1)

    def _sums(self, x: ov.Output, widths: Sequence[int]) -> ov.Output:
        """Return the sum over each block, beside every channel of it."""
        shape = [int(length) for length in x.get_shape()]
        if len(set(widths)) > 1:
            number = np.repeat(np.arange(len(widths)), widths)
            ones = (number[:, None] == number[None]).astype(np.float32)
            return self._product(x, ones)
        ones = np.ones((widths[0], widths[0]), np.float32)
        if len(shape) == 2:
            rows = self._reshaped(x, [-1, widths[0]])
            return self._reshaped(self._product(rows, ones), shape)
        # A view where channels are stored last; CPUs drop the transpositions then.
        last, first = np.array([0, 2, 3, 1]), np.array([0, 3, 1, 2])
        view = self._reshaped(self._node(ops.transpose, x, last), [1, 1, -1, widths[0]])
        sums = self._product(self._node(ops.transpose, view, first), ones)
        wide = [shape[0], shape[2], shape[3], shape[1]]
        back = self._reshaped(self._node(ops.transpose, sums, last), wide)
        return self._node(ops.transpose, back, first)

    def _product(self, x: ov.Output, weights: np.ndarray[Any, Any]) -> ov.Output:
        if len(x.get_shape()) == 2:
            return self._node(ops.matmul, x, weights, transpose_a=False, transpose_b=True)
        plain: dict[str, Option] = {
            "strides": [1, 1], "pads_begin": [0, 0], "pads_end": [0, 0], "dilations": [1, 1],
        }  # fmt: skip
        return self._node(ops.convolution, x, weights[:, :, None, None], **plain)

    def _reshaped(self, x: ov.Output, shape: Sequence[int]) -> ov.Output:
        return self._node(ops.reshape, x, np.array(shape), special_zero=False)

    def _to_multiples(self, x: ov.Output, shared: ov.Output) -> ov.Output:
        """Return x rounded to multiples of the unit of its block, ties to even."""
        bits = self.form.magnitude_bits
        large = self._node(ops.multiply, shared, 1.5 * 2.0 ** (_SIGNIFICAND_BITS - bits))
        return self._node(ops.subtract, self._node(ops.add, x, large), large)

    def _saturated(self, x: ov.Output, shared: ov.Output) -> ov.Output:
        bits = self.form.magnitude_bits
        most = self._node(ops.multiply, shared, 2.0 - 2.0 ** (1 - bits))
        bounded = self._node(ops.minimum, x, most)
        if not self.signed:
            return bounded
        lowest = -2.0 if self.form.twos_complement else -2.0 + 2.0 ** (1 - bits)
        return self._node(ops.maximum, bounded, self._node(ops.multiply, shared, lowest))

    def _cut(self, x: ov.Output, shared: ov.Output) -> ov.Output:
        """Return x cut to multiples of the unit of its block.

        Of q bits and units of 1, what x is when cut lies nearest to x -+ (1/2 - 2^-(q+1)).
        """
        bits = self.form.magnitude_bits
        less = self._node(ops.multiply, shared, 2.0**-bits - 4.0**-bits)
        lower = self._node(ops.subtract, x, less)
        if self.signed:
            higher = self._node(ops.add, x, less)
            lower = self._node(ops.select, self._node(ops.less, x, 0.0), higher, lower)
        return self._to_multiples(lower, shared)


def _widths(channels: int, block: int, groups: int) -> list[int]:
    """Return the channels of each block, in order."""
    group = channels // groups
    widths = [block] * (group // block) + [group % block] * (group % block > 0)
    return widths * groups
