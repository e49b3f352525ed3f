"""What tests of phantoms share."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from thorax.phantoms.phantom import Exposure, expose
from thorax.phantoms.style import USUAL, Style

Pair = Callable[..., tuple[Exposure, Exposure, npt.NDArray[np.float64]]]


@pytest.fixture(scope="session")
def pair() -> Pair:
    """The same exposure with one finding and with none, and the difference of their densities."""

    def expose_both(
        finding: str, index: int, *, seed: int = 11, side: int = 256, style: Style = USUAL
    ) -> tuple[Exposure, Exposure, npt.NDArray[np.float64]]:
        ill = expose(seed, index, [finding], side=side, style=style)
        well = expose(seed, index, [], side=side, style=style)
        return ill, well, ill.density.astype(np.float64) - well.density

    return expose_both
