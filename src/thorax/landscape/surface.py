"""The training loss as a function of the weights, on fixed images: value, gradient, curvature.

Nothing here changes the network it is given: the surface works on a copy whose weights are handed
in with every question (`torch.func.functional_call`), as one flat vector in the order of
`named_parameters`. A vector of a ResNet-50 is 94 MB.
"""

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call

from thorax.data.store import Store
from thorax.errors import DataError
from thorax.images.preprocess import InputSpec
from thorax.labels import UNKNOWN
from thorax.metrics import auroc
from thorax.results.landscape import Quality
from thorax.training.losses import masked_bce
from thorax.training.networks import normalise

BatchNorm = Literal["running", "estimated", "batch"]

_KEY: Final = 0x73756273
"""Second half of the Philox key: the draws of a subset are not those of an epoch."""


@dataclass(frozen=True, slots=True, eq=False)
class Subset:
    """Images of one split that a surface is measured on, as they are stored.

    Attributes:
        split: where they come from.
        images: uint8 [N,1,S,S].
        labels: int8 [N,K], 1 / 0 / -1 (unknown).
        seed: they were drawn with.
        sha256: digest of the pixels and labels: equal digests, equal images.
    """

    split: str
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int8]
    seed: int
    sha256: str

    def __len__(self) -> int:
        return len(self.images)


def draw(store: Store, split: str, count: int, *, seed: int = 0) -> Subset:
    """Return a fixed random subset of a split, in the order of the store; all when it is smaller.

    The choice depends on the seed and the store alone, and a smaller subset is part of a larger. It
    has `count` images at most, 1 or more, of "train", "val" or "test"; a seed is 0 to 2**64 - 1.

    Raises:
        DataError: `split-empty`.
    """
    indices = store.select(split)
    if not len(indices):
        raise DataError(
            "split-empty", f"the {split} split of {store.path} has no image; import with one"
        )
    words = np.random.Philox(key=np.array([seed, _KEY], np.uint64)).random_raw(len(store))
    order = np.argsort(np.asarray(words, np.uint64)[indices], kind="stable")[:count]
    chosen = np.sort(indices[order])
    images = np.ascontiguousarray(store.images[chosen])[:, None]
    labels = np.ascontiguousarray(store.labels[chosen])
    digest = hashlib.sha256(images.tobytes())
    digest.update(labels.tobytes())
    return Subset(split, images, labels, seed, digest.hexdigest())


def passes(images: int, batch: int) -> list[slice]:
    """Return the images of each pass: as few passes as will do, alike in size to one image.

    A short last pass would count as much as a full one where statistics of batch normalisation are
    averaged over passes, and a last pass of one image may have no variance at all.
    """
    count = -(-images // batch)
    ends = [images * number // count for number in range(count + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


class Surface:
    """f(w): the mean masked cross-entropy of a network on a subset, w float32 [n].

    No augmentation; float32; the mean is over the known labels of the whole subset, whatever the
    number of images a pass.

    Attributes:
        weights: float32 [n], where the network is.
        known: share of each pass in the mean, one entry a pass.
    """

    def __init__(
        self,
        network: nn.Module,
        subset: Subset,
        spec: InputSpec,
        *,
        batch: int = 128,
        batch_norm: BatchNorm = "running",
        on_progress: Callable[[int], None] = lambda images: None,
    ) -> None:
        """Copy the network.

        Args:
            network: takes what `normalise` gives; its device is where the surface is computed.
            subset: on which images.
            spec: the mean and std the network is trained with.
            batch: most images a pass; bounds memory. Changes the loss where `batch_norm` = "batch".
            batch_norm: "running" normalises by the running statistics, as an evaluation does;
                "estimated" by those of the subset under these weights, which after few updates
                are far from the running ones; "batch" by those of each pass, as training does.
            on_progress: told the number of images after every gradient and Hessian product.
        """
        self._network = copy.deepcopy(network).float().train(batch_norm == "batch")
        if batch_norm == "estimated":
            estimate_batch_norm(self._network, subset, spec, batch=batch)
        self._parameters = dict(self._network.named_parameters())
        self.weights = torch.cat([one.detach().reshape(-1) for one in self._parameters.values()])
        self._subset = subset
        self._spec = spec
        self._slices = passes(len(subset), batch)
        self._tell = on_progress
        known = [int((subset.labels[here] != UNKNOWN).sum()) for here in self._slices]
        self.known = [one / max(1, sum(known)) for one in known]

    def __len__(self) -> int:
        """Images."""
        return len(self._subset)

    def parts(self, weights: Tensor) -> dict[str, Tensor]:
        """Return views of a flat vector by the name of the parameter, each in its shape."""
        sizes = [one.numel() for one in self._parameters.values()]
        pieces = zip(self._parameters.items(), torch.split(weights, sizes), strict=True)
        return {name: piece.view(one.shape) for (name, one), piece in pieces}

    def loss(self, weights: Tensor) -> float:
        """Return f(w), nats."""
        with torch.no_grad():
            parts = self.parts(weights)
            return sum(share * self._mean(parts, *one).item() for share, one in self._passes())

    def gradient(self, weights: Tensor) -> tuple[float, Tensor]:
        """Return f(w), nats, and its gradient float32 [n]."""
        total, gradient = 0.0, torch.zeros_like(self.weights)
        for share, one in self._passes():
            at = weights.detach().requires_grad_()
            loss = self._mean(self.parts(at), *one)
            gradient.add_(torch.autograd.grad(loss, at)[0], alpha=share)
            total += share * loss.item()
        self._tell(len(self))
        return total, gradient

    def curvature(self, weights: Tensor, direction: Tensor) -> Tensor:
        """Return the Hessian at w times a direction, float32 [n] (Pearlmutter, NC 6, 1994)."""
        product = torch.zeros_like(self.weights)
        for share, one in self._passes():
            at = weights.detach().requires_grad_()
            loss = self._mean(self.parts(at), *one)
            (gradient,) = torch.autograd.grad(loss, at, create_graph=True)
            product.add_(torch.autograd.grad(gradient, at, direction)[0], alpha=share)
        self._tell(len(self))
        return product

    def _passes(self) -> Iterator[tuple[float, tuple[Tensor, Tensor]]]:
        for here, share in zip(self._slices, self.known, strict=True):
            if share:
                yield share, self._pass(here)

    def _pass(self, here: slice) -> tuple[Tensor, Tensor]:
        device = self.weights.device
        images = normalise(torch.from_numpy(self._subset.images[here]).to(device), self._spec)
        return images, torch.from_numpy(self._subset.labels[here]).to(device)

    def _mean(self, parts: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        logits: Tensor = functional_call(self._network, dict(parts), (images,))
        return masked_bce(logits, labels)


def judge(network: nn.Module, subset: Subset, spec: InputSpec, *, batch: int = 128) -> Quality:
    """Return loss and AUROC of a network in eval mode; its mode is left in eval."""
    network.eval()
    with torch.inference_mode():
        logits = [answer.float().cpu() for answer in _answers(network, subset, spec, batch)]
    scores = torch.cat(logits)
    loss = masked_bce(scores, torch.from_numpy(subset.labels)).item()
    if not scores.isfinite().all():
        return Quality(loss=loss, mean_auroc=None)
    values = auroc(subset.labels, scores.numpy())
    values = values[~np.isnan(values)]
    return Quality(loss=loss, mean_auroc=float(values.mean()) if len(values) else None)


def _answers(network: nn.Module, subset: Subset, spec: InputSpec, batch: int) -> Iterator[Tensor]:
    device = next(network.parameters()).device
    for here in passes(len(subset), batch):
        yield network(normalise(torch.from_numpy(subset.images[here]).to(device), spec))


def estimate_batch_norm(
    network: nn.Module, subset: Subset, spec: InputSpec, *, batch: int = 128
) -> None:
    """Replace the running statistics of a network by those of the subset under its weights.

    The mean of the statistics of all passes (`torch.optim.swa_utils.update_bn`); the network is
    left in eval mode. Networks without batch norm stay as they are.
    """
    norms = [one for one in network.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    before = [one.momentum for one in norms]
    if not norms:
        network.eval()
        return
    for one in norms:
        one.reset_running_stats()
        one.momentum = None
    network.train()
    with torch.no_grad():
        for _ in _answers(network, subset, spec, batch):
            pass
    for one, momentum in zip(norms, before, strict=True):
        one.momentum = momentum
    network.eval()
