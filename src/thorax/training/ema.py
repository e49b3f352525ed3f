"""Averaged weights: what is judged and kept can be smoother than what is trained."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from pydantic import Field
from torch import Tensor, nn

from thorax.config import Settings
from thorax.errors import ModelError


class Ema(Settings):
    """Exponential moving average of the weights, judged and kept in their place."""

    decay: float = Field(default=0.999, ge=0, lt=1)
    """Share of the average that stays at each update, 0 to below 1; about 1 / (1 - decay) updates
    are averaged."""


class Average:
    """The exponential moving average of a network's parameters and floating buffers.

    The statistics of batch normalisation are averaged as the weights are; counters are those of
    the network. Averages lie where the network does, in its dtypes.
    """

    def __init__(self, network: nn.Module, settings: Ema) -> None:
        """Begin at the network as it is."""
        self._decay = settings.decay
        self._averages = {name: value.clone() for name, value in _floating(network).items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the network after an update.

        The decay is min(decay, (1 + step) / (10 + step)), so that the first averages forget the
        untrained weights (tf.train.ExponentialMovingAverage, num_updates). Updates count from 0.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        now = _floating(network)
        averages = list(self._averages.values())
        torch._foreach_lerp_(averages, [now[name] for name in self._averages], 1 - decay)

    @contextmanager
    def swapped(self, network: nn.Module) -> Iterator[None]:
        """Give the network the averages, and afterwards its own values back, to the bit."""
        own = list(_floating(network).values())
        before = [value.clone() for value in own]
        with torch.no_grad():
            torch._foreach_copy_(own, list(self._averages.values()))
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(own, before)

    def tensors(self) -> dict[str, Tensor]:
        """Return the averages under the names of the network's state_dict, not copied."""
        return dict(self._averages)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from averages that were saved.

        Raises:
            ModelError: `average-mismatch`, when names or shapes are not those of the network.
        """
        for name in [*self._averages, *tensors]:
            here, there = self._averages.get(name), tensors.get(name)
            if here is None or there is None or here.shape != there.shape:
                shapes = [None if value is None else tuple(value.shape) for value in (here, there)]
                raise ModelError(
                    "average-mismatch",
                    f"the averaged weights have {name} of shape {shapes[1]} where the network has "
                    f"{shapes[0]}; resume with the checkpoint of the same run",
                )
        for name, average in self._averages.items():
            average.copy_(tensors[name])


def _floating(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: value for name, value in network.state_dict().items() if value.is_floating_point()
    }
