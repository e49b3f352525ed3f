"""The fastest architecture for one network that a device has room for."""

from collections.abc import Sequence

from thorax.fpga.architecture import Architecture, Family, OverlayPrecision, Weights
from thorax.fpga.workload import Layer


def search(
    layers: Sequence[Layer],
    family: Family,
    *,
    precision: OverlayPrecision | None = None,
    weights: Weights = "block",
    batch: int = 1,
) -> Architecture:
    """Return the architecture that the model finds fastest among those that fit.

    Args:
        layers: of `describe`.
        family: whose resources and clock count.
        precision: of the products; None: the lowest that the vendor has for the family.
        weights: format of the filters.
        batch: images that share the filters of a layer.
    """
    raise NotImplementedError
