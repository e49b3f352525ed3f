"""One update: the same gradient however the batch is cut, and SAM's own."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from thorax.data.loader import Batch
from thorax.images.preprocess import InputSpec
from thorax.training.losses import masked_bce
from thorax.training.networks import VGG, Classifier, normalise
from thorax.training.optimizers import Sgd, build
from thorax.training.parallel import Ranks
from thorax.training.sam import Ascent, Sam
from thorax.training.step import RunningStatistics, Trainer

SIDE = 16


@pytest.fixture
def batch() -> Batch:
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (8, 1, SIDE, SIDE)).astype(np.uint8)
    labels = rng.integers(-1, 2, (8, 3)).astype(np.int8)
    return Batch(images, labels, np.arange(8), known=int((labels >= 0).sum()))


def trainer(*, micro_batch: int, ascent: Ascent | None = None) -> Trainer:
    torch.manual_seed(0)
    network = VGG(((4,), (8,)), classes=3, channels=1, output_stride=32)
    return Trainer(
        network=network,
        exchanged=network,
        optimizer=build(network, Sgd(kind="sgd", momentum=0.0, weight_decay=0.0)),
        statistics=RunningStatistics(network),
        ascent=ascent,
        average=None,
        ranks=Ranks(),
        spec=InputSpec(SIDE),
        device=torch.device("cpu"),
        bf16=False,
        micro_batch=micro_batch,
        smoothing=0.0,
    )


def weights(made: Trainer) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in made.network.named_parameters()}


def descended(made: Trainer, batch: Batch, *, rho: float | None = None) -> dict[str, Tensor]:
    """Return what groups of four give by hand at rate 1: w - the sum of their gradients."""
    total = {name: torch.zeros_like(value) for name, value in weights(made).items()}
    for part in (slice(0, 4), slice(4, 8)):
        network = copy.deepcopy(made.network)
        parameters = dict(network.named_parameters())

        def gradients(part: slice = part, network: Classifier = network) -> tuple[Tensor, ...]:
            logits = network(normalise(torch.from_numpy(batch.images[part]), made.spec))
            labels = torch.from_numpy(batch.labels[part])
            return torch.autograd.grad(
                masked_bce(logits, labels, known=batch.known), list(network.parameters())
            )

        if rho is not None:
            own = gradients()
            length = torch.cat([gradient.flatten() for gradient in own]).norm()
            with torch.no_grad():
                for value, gradient in zip(parameters.values(), own, strict=True):
                    value.add_(gradient, alpha=rho / float(length))
        for name, gradient in zip(parameters, gradients(), strict=True):
            total[name] += gradient
    return {name: value - total[name] for name, value in weights(made).items()}


@pytest.mark.parametrize("rho", [None, 0.1])
def test_groups_add_up_to_the_gradient_of_the_batch_each_climbing_for_itself(
    batch: Batch, rho: float | None
) -> None:
    made = trainer(micro_batch=4, ascent=None if rho is None else Ascent(Sam(rho=rho)))
    wanted = descended(made, batch, rho=rho)
    made.update(batch, 1.0, 0)
    for name, value in weights(made).items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-5, atol=1e-6)


def test_the_loss_told_is_that_of_the_whole_batch(batch: Batch) -> None:
    made = trainer(micro_batch=8)
    made.network.train()
    with torch.no_grad():
        logits = copy.deepcopy(made.network)(normalise(torch.from_numpy(batch.images), made.spec))
    wanted = masked_bce(logits, torch.from_numpy(batch.labels)).item()
    assert made.update(batch, 0.1, 0) == pytest.approx(wanted, rel=1e-6)


def test_the_second_pass_of_sam_leaves_the_running_statistics_of_the_first(batch: Batch) -> None:
    with_sam = trainer(micro_batch=8, ascent=Ascent(Sam(rho=0.5)))
    without = trainer(micro_batch=8)
    for made in (with_sam, without):
        made.update(batch, 0.0, 0)
    for one, two in zip(with_sam.statistics.tensors, without.statistics.tensors, strict=True):
        assert torch.equal(one, two)
