"""What training minimises."""

import torch
from torch import Tensor
from torch.nn import functional

from thorax.labels import POSITIVE, UNKNOWN


def masked_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the binary cross-entropy, nats, averaged over the labels that are known.

    Unweighted: class weights buy no AUROC on ChestX-ray14 (jrzech/reproduce-chexnet). A batch
    with no known label gives 0 with a gradient of 0.

    Args:
        logits: float [N,K].
        labels: int8 [N,K], 1 / 0 / -1 (unknown, left out).
    """
    known = labels != UNKNOWN
    wanted = (labels == POSITIVE).to(torch.float32)
    each = functional.binary_cross_entropy_with_logits(
        logits.to(torch.float32), wanted, reduction="none"
    )
    return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)
