"""Number formats of the overlay: mantissas of a few bits that share the exponent of their block.

The Altera FPGA AI Suite Handbook (863373, s. 9.4.1, "arch_precision") names them by their 5-bit
exponent, biased by 15 as in IEEE 754 binary16, and by what a mantissa is: FP11 is INT7-BFP, sign
and 6 bits of magnitude; FP12AGX and FP13AGX, INT8-BFP and INT9-BFP, are two's complement; FP16 is
INT12-BFP, sign and 11 bits. How those two count their unit is derived, not printed there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from thorax.errors import UsageError

LEAST_EXPONENT: Final = -14
"""Of a normal number of IEEE 754 binary16; smaller ones count as zero."""
LARGEST_EXPONENT: Final = 15
"""Of a finite number of IEEE 754 binary16."""
EXPONENT_BITS: Final = 5
"""Of the exponent that a block shares."""


@dataclass(frozen=True, slots=True)
class Format:
    """A block floating point format.

    `name` is what `--precision` and architecture files call it, in small letters. A mantissa has
    `bits` with its sign, a magnitude `magnitude_bits`, the leading one included; what is not two's
    complement is sign and magnitude. An exploratory one no vendor's device computes: the same rules
    with fewer bits.
    """

    name: str
    bits: int
    magnitude_bits: int
    twos_complement: bool
    exploratory: bool = False

    @property
    def largest(self) -> float:
        """The largest value: all ones, at the largest exponent."""
        return (2.0**self.magnitude_bits - 1) * 2.0 ** (LARGEST_EXPONENT + 1 - self.magnitude_bits)


FORMATS: Final[Mapping[str, Format]] = {
    form.name: form
    for form in (
        Format("fp16", 12, 11, False),
        Format("fp13agx", 9, 8, True),
        Format("fp12agx", 8, 7, True),
        Format("fp11", 7, 6, False),
        Format("fp9", 5, 4, False, exploratory=True),
        Format("fp8", 4, 3, False, exploratory=True),
    )
}
"""Every format by name, most bits first."""


def find_format(name: str) -> Format:
    """Return a format by its name, whatever the case.

    Raises:
        UsageError: `fpga-format`.
    """
    form = FORMATS.get(name.lower())
    if form is None:
        raise UsageError(
            "fpga-format", f"number format {name!r} is not known; allowed: {', '.join(FORMATS)}"
        )
    return form
