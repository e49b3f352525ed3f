"""What training minimises."""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from thorax.config import Settings
from thorax.labels import POSITIVE, UNKNOWN


class Loss(Settings):
    """What training minimises: binary cross-entropy over the labels that are known."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """How far targets move from 0 and 1 towards 0.5, 0 = not at all, to below 1."""


def masked_bce(
    logits: Tensor, labels: Tensor, *, known: int | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return the binary cross-entropy, nats, averaged over the labels that are known.

    Unweighted: class weights buy no AUROC on ChestX-ray14 (jrzech/reproduce-chexnet). A batch
    with no known label gives 0 with a gradient of 0.

    Args:
        logits: float [N,K].
        labels: int8 [N,K], 1 / 0 / -1 (unknown, left out).
        known: what the sum is divided by; None = the known labels among these. Where a batch is
            cut in parts, give that of the whole batch: then the losses of the parts sum to its
            loss, and their gradients to its gradient.
        smoothing: s, 0 to below 1: the target y becomes (1 - s) y + s / 2 (Szegedy et al.,
            1512.00567, section 7, with the two classes of one finding).
    """
    mask = labels != UNKNOWN
    wanted = (labels == POSITIVE).to(torch.float32)
    if smoothing:
        wanted = (1 - smoothing) * wanted + smoothing / 2
    each = functional.binary_cross_entropy_with_logits(
        logits.to(torch.float32), wanted, reduction="none"
    )
    total = torch.where(mask, each, 0.0).sum()
    return total / (mask.sum().clamp(min=1) if known is None else max(1, known))
