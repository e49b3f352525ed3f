"""How much of an FPGA an overlay takes: fitted to published designs, never synthesised."""

from dataclasses import dataclass

from thorax.fpga.architecture import Architecture, Budget


@dataclass(frozen=True, slots=True)
class Area:
    """Resources, as modelled.

    Attributes:
        dsp: DSP blocks.
        m20k: memory blocks of 20 kbit.
        alm: adaptive logic modules.
    """

    dsp: int
    m20k: int
    alm: int

    def fits(self, budget: Budget) -> bool:
        """Return whether a device has that much."""
        return self.dsp <= budget.dsp and self.m20k <= budget.m20k and self.alm <= budget.alm


def area(architecture: Architecture) -> Area:
    """Return what an architecture takes of its device."""
    raise NotImplementedError
