"""The weights that a Keras network makes while it is built, held to what its file has."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from thorax.errors import ModelError
from thorax.importers.keras_file import KerasFile

_SLACK: Final = 4096
"""Numbers that a layer may have and not keep: counters and the like."""


@contextmanager
def weights_within(layer: Any, found: KerasFile) -> Iterator[None]:  # noqa: ANN401
    """Refuse a network with more weights than its file has numbers, before it takes their memory.

    Args:
        layer: class of Keras whose `add_weight` makes every weight.
        found: what the network is built from.

    Raises:
        ModelError: `model-unreadable`.
    """
    made = 0
    add_weight = layer.add_weight

    def counting(self: Any, *values: Any, **named: Any) -> Any:  # noqa: ANN401
        nonlocal made
        # Keras 2 takes the name first, Keras 3 the shape.
        shape = named.get("shape") or next(
            (value for value in values[:2] if isinstance(value, tuple | list)), ()
        )
        made += math.prod(size for size in shape if isinstance(size, int))
        if made > found.values + _SLACK:
            raise ModelError(
                "model-unreadable",
                f"{found.path.name} describes more than {made:,} weights and holds "
                f"{found.values:,}; it is damaged, save it again",
            )
        return add_weight(self, *values, **named)

    layer.add_weight = counting
    try:
        yield
    finally:
        layer.add_weight = add_weight
