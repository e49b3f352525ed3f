"""Sharpness-aware minimisation: the gradient is taken where the loss is worst nearby.

One update has two passes: the gradient here, a climb along it, the gradient there, and the way
back, from where the optimizer steps with the second gradient.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from thorax.config import Settings
from thorax.training.trust_ratio import alike, gradients, norms


class Sam(Settings):
    """Sharpness-aware minimisation; each update costs two passes."""

    rho: float = Field(default=0.05, gt=0, le=1e6)
    """Length of the climb, above 0 to 1e6; 0.05 for SAM (2010.01412), 0.5 to 2 for its adaptive
    form."""
    adaptive: bool = False
    """Climb relative to the size of each weight (ASAM, 2102.11600)."""
    eta: float = Field(default=0.01, ge=0, le=1e6)
    """Added to the size of each weight in the adaptive form, 0 to 1e6."""


class Ascent:
    """A climb and the exact way back.

    Example:
        >>> loss(network).backward()
        >>> ascent.climb(network)
        >>> optimizer.zero_grad()
        >>> loss(network).backward()
        >>> ascent.descend()
        >>> optimizer.step()
    """

    def __init__(self, settings: Sam) -> None:
        """Take how far to climb."""
        self._settings = settings
        self._left: list[tuple[list[Tensor], list[Tensor]]] = []

    @torch.no_grad()
    def climb(self, network: nn.Module) -> None:
        """Move every parameter that has a gradient to where the loss is about worst nearby.

        SAM adds rho g / |g| (Foret et al., 2010.01412, Eq. 2, p = 2), ASAM rho T^2 g / |T g|
        (Kwon et al., 2102.11600, Algorithm 1), the norms over all parameters together. As in the
        authors' code (SamsungLabs/ASAM), T is |w| + eta for every parameter named `weight`, batch
        normalisation's included, and 1 for the rest, the biases. The gradients are read, not
        changed; where all are 0 nothing moves.

        Raises:
            UsageError: `sparse-gradient`.
        """
        assert not self._left, "descend before the next climb"
        sized: list[Tensor] = []
        plain: list[Tensor] = []
        for name, parameter in network.named_parameters():
            relative = self._settings.adaptive and name.rpartition(".")[2] == "weight"
            (sized if relative else plain).append(parameter)
        climbs = [(parameters, gradients(parameters)) for parameters in alike(plain)]
        lengths = [norms(slopes) for _, slopes in climbs]
        for parameters in alike(sized):
            sizes = list(torch._foreach_add(torch._foreach_abs(parameters), self._settings.eta))
            scaled = list(torch._foreach_mul(gradients(parameters), sizes))
            lengths.append(norms(scaled))
            climbs.append((parameters, list(torch._foreach_mul(scaled, sizes))))
        if not climbs:
            return
        length = torch.cat([part.double() for part in lengths]).norm()
        share = torch.where(length > 0, self._settings.rho / length, 0.0)
        for parameters, moves in climbs:
            self._left.append((parameters, [parameter.clone() for parameter in parameters]))
            torch._foreach_add_(parameters, torch._foreach_mul(moves, share.to(moves[0].dtype)))

    @torch.no_grad()
    def descend(self) -> None:
        """Put every parameter back where the climb began, to the bit."""
        for parameters, before in self._left:
            torch._foreach_copy_(parameters, before)
        self._left.clear()
