"""The loss as a function of the weights, and searches on it, against answers known otherwise."""

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from torch import Tensor, nn

from thorax.data.store import Store
from thorax.errors import DataError
from thorax.images.preprocess import InputSpec
from thorax.landscape.search import (
    RandomMatrix,
    ascend,
    climb_manifold,
    largest_eigenvalue,
)
from thorax.landscape.surface import Subset, Surface, draw, estimate_batch_norm, judge, passes
from thorax.training.losses import masked_bce
from thorax.training.networks import build, normalise

SPEC = InputSpec(16)


class Small(nn.Module):
    """An image to two logits, by way of so many hidden units (0: none)."""

    def __init__(self, hidden: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        if hidden:
            layers += [nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 2)]
        else:
            layers += [nn.Linear(4, 2)]
        self.layers = nn.Sequential(*layers)
        with torch.no_grad():
            for one in self.parameters():
                one.copy_(torch.randn(one.shape, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


def noise(count: int = 40, side: int = 16) -> Subset:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, 1, side, side)).astype(np.uint8)
    return Subset("train", images, rng.integers(-1, 2, (count, 2)).astype(np.int8), 0, "")


def surface(hidden: int = 0, batch: int = 128) -> Surface:
    return Surface(Small(hidden), noise(), SPEC, batch=batch)


def hessian(of: Surface) -> Tensor:
    """The whole matrix, by double differentiation of the loss written down again."""
    subset = noise()
    images = normalise(torch.from_numpy(subset.images), SPEC)
    pooled = nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)

    def loss(weights: Tensor) -> Tensor:
        logits = pooled @ weights[:8].view(2, 4).T + weights[8:]
        return masked_bce(logits, torch.from_numpy(subset.labels))

    found: Tensor = torch.autograd.functional.hessian(  # type: ignore[no-untyped-call]
        loss, of.weights
    )
    return found


def test_a_subset_is_fixed_and_part_of_a_larger_one(store: Store) -> None:
    small, large = draw(store, "train", 6, seed=5), draw(store, "train", 12, seed=5)
    assert draw(store, "train", 6, seed=5).sha256 == small.sha256 != large.sha256
    assert {one.tobytes() for one in small.images} < {one.tobytes() for one in large.images}
    assert draw(store, "train", 6, seed=6).sha256 != small.sha256
    assert len(draw(store, "train", 1000)) == 24


def test_a_split_without_images_is_refused(tmp_path: Path, store: Store) -> None:
    empty = dataclasses.replace(store, splits=("val",) * len(store))
    with pytest.raises(DataError, match="split-empty"):
        draw(empty, "train", 4)


@given(st.integers(1, 500), st.integers(1, 200))
def test_passes_are_as_few_as_will_do_and_alike(images: int, batch: int) -> None:
    sizes = [here.stop - here.start for here in passes(images, batch)]
    assert sum(sizes) == images
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == math.ceil(images / batch)
    numbers = np.arange(images)
    rejoined = np.concatenate([numbers[here] for here in passes(images, batch)])
    assert np.array_equal(rejoined, numbers)


def test_statistics_are_estimated_where_one_image_would_be_left_over() -> None:
    network, subset = build("resnet18", classes=2, width=0.125), noise(count=5, side=32)
    estimate_batch_norm(network, subset, SPEC, batch=4)
    assert np.isfinite(judge(network, subset, SPEC, batch=4).loss)


def test_the_value_is_the_training_loss_and_the_size_of_a_pass_changes_nothing() -> None:
    subset, network = noise(), Small(3)
    logits = network(normalise(torch.from_numpy(subset.images), SPEC))
    wanted = masked_bce(logits, torch.from_numpy(subset.labels)).item()
    whole, parted = surface(3), surface(3, batch=7)
    assert whole.loss(whole.weights) == pytest.approx(wanted, rel=1e-6)
    value, gradient = parted.gradient(parted.weights)
    assert value == pytest.approx(wanted, rel=1e-6)
    torch.testing.assert_close(gradient, whole.gradient(whole.weights)[1])
    direction = torch.ones_like(gradient)
    torch.testing.assert_close(
        parted.curvature(parted.weights, direction), whole.curvature(whole.weights, direction)
    )


def test_a_product_with_the_hessian_is_that_of_the_whole_matrix() -> None:
    at = surface()
    direction = torch.linspace(-1, 1, 10)
    torch.testing.assert_close(
        at.curvature(at.weights, direction), hessian(at) @ direction, rtol=1e-5, atol=1e-6
    )


def test_power_iteration_finds_the_largest_eigenvalue_of_the_whole_matrix() -> None:
    at = surface()
    found = largest_eigenvalue(at, iterations=200, tolerance=1e-6, seed=0)
    assert found.converged
    assert found.value == pytest.approx(torch.linalg.eigvalsh(hessian(at))[-1].item(), rel=1e-4)
    assert found.residual < 0.02
    few = largest_eigenvalue(at, iterations=2, tolerance=1e-9, seed=0)
    assert (few.converged, few.iterations) == (False, 2)


class Quadratic(Surface):
    """f(w) = w' D w / 2 + 1 with a diagonal D, in place of images."""

    def __init__(self, diagonal: list[float], weights: list[float]) -> None:
        self.diagonal = torch.tensor(diagonal)
        self.weights = torch.tensor(weights)
        self.asked: list[Tensor] = []

    def gradient(self, weights: Tensor) -> tuple[float, Tensor]:
        self.asked.append(weights)
        return float(weights @ (self.diagonal * weights)) / 2 + 1, self.diagonal * weights

    def curvature(self, weights: Tensor, direction: Tensor) -> Tensor:
        return self.diagonal * direction


@pytest.mark.parametrize(("diagonal", "wanted"), [([3.0, 1, -1], 3.0), ([-5.0, 1, 2], 2.0)])
def test_the_largest_eigenvalue_is_not_the_most_negative(
    diagonal: list[float], wanted: float
) -> None:
    at = Quadratic(diagonal, [0.0, 0, 0])
    found = largest_eigenvalue(at, iterations=100, tolerance=1e-5, seed=0)
    assert found.value == pytest.approx(wanted, rel=1e-3)


def test_ascent_in_a_box_finds_the_corner_of_a_bowl_and_stays_inside() -> None:
    at = Quadratic([4.0, 1, 0.5], [0.3, -0.2, 0.1])
    scale = torch.tensor([0.1, 0.2, 0.3])
    start = at.gradient(at.weights)
    highest = ascend(at, scale, start=start, norm="linf", steps=5, seed=0)
    corner = at.weights + scale * at.weights.sign()
    assert highest == pytest.approx(at.gradient(corner)[0])
    assert all(torch.all((one - at.weights).abs() <= scale * (1 + 1e-6)) for one in at.asked)


def test_ascent_in_a_ball_finds_the_steepest_axis_from_a_flat_start() -> None:
    at = Quadratic([9.0, 1, 1], [0.0, 0, 0])
    start = at.gradient(at.weights)
    highest = ascend(at, torch.full((3,), 0.5), start=start, norm="l2", steps=60, seed=0)
    assert highest == pytest.approx(1 + 9 * 0.25 / 2, rel=1e-3)
    assert all(one.norm() <= 0.5 * (1 + 1e-6) for one in at.asked)


@pytest.mark.parametrize("epsilon", [1e-2, 0.3])
def test_ascent_in_the_full_space_finds_nearly_what_l_bfgs_b_finds(epsilon: float) -> None:
    at = surface(hidden=3)
    bound = epsilon * (at.weights.abs() + 1)
    start = at.gradient(at.weights)

    def fall(point: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = at.gradient(torch.from_numpy(point).float())
        return -loss, -gradient.double().numpy()

    centre, reach = at.weights.double().numpy(), bound.double().numpy()
    peer = optimize.minimize(
        fall,
        centre,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(centre - reach, centre + reach, strict=True)),
    )
    highest = ascend(at, bound, start=start, norm="linf", steps=20, seed=0)
    # Both find a corner where no weight wants to turn; there are many such.
    assert highest - start[0] >= 0.9 * (-peer.fun - start[0])


def test_the_manifold_of_a_bowl_is_climbed_to_a_corner_of_its_box() -> None:
    at = Quadratic([1.0] * 50, [0.5] * 50)
    matrix = RandomMatrix(at.weights, 3, seed=0)
    dense = matrix.times(torch.eye(3)).double().numpy()
    np.testing.assert_allclose(
        matrix.coordinates(at.weights), np.linalg.pinv(dense) @ np.full(50, 0.5), rtol=1e-4
    )
    bound = 1e-2 * (np.abs(np.linalg.pinv(dense) @ np.full(50, 0.5)) + 1)
    corners = [
        ((0.5 + dense @ (bound * np.array(signs))) ** 2).sum() / 2 + 1
        for signs in itertools.product((-1, 1), repeat=3)
    ]
    assert climb_manifold(at, matrix, 1e-2, iterations=10) == pytest.approx(max(corners), rel=1e-5)


def test_a_random_matrix_is_the_same_kept_or_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from thorax.landscape import search

    monkeypatch.setattr(search, "_BLOCK", 16)
    weights = torch.linspace(-1, 1, 50)
    kept = RandomMatrix(weights, 4, seed=2)
    monkeypatch.setattr(search, "_KEPT_BYTES", 0)
    drawn = RandomMatrix(weights, 4, seed=2)
    point = torch.tensor([1.0, -2, 3, 0.5])
    assert torch.equal(kept.times(point), drawn.times(point))
    assert torch.equal(kept.transposed_times(weights), drawn.transposed_times(weights))
    assert not torch.equal(kept.times(point), RandomMatrix(weights, 4, seed=3).times(point))
    dense = kept.times(torch.eye(4))
    torch.testing.assert_close(
        kept.transposed_times(weights), dense.T.double() @ weights.double(), rtol=1e-5, atol=1e-5
    )


def test_batch_norm_is_estimated_as_torch_does() -> None:
    from torch.optim.swa_utils import update_bn

    subset = noise(count=6, side=32)
    ours, theirs = (build("resnet18", classes=2, width=0.125) for _ in range(2))
    estimate_batch_norm(ours, subset, SPEC, batch=3)
    halves = [normalise(torch.from_numpy(part), SPEC) for part in np.split(subset.images, 2)]
    update_bn(halves, theirs)
    for (name, one), other in zip(
        ours.state_dict().items(), theirs.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, msg=name)


def test_quality_is_loss_and_mean_auroc_over_labels_with_both_classes() -> None:
    subset = noise()
    one_class = Subset("val", subset.images, np.stack([subset.labels[:, 0]] * 2, axis=1), 0, "")
    one_class.labels[:, 1] = 1
    network = Small(3)
    found = judge(network, one_class, SPEC, batch=9)
    from thorax.metrics import auroc

    scores = network(normalise(torch.from_numpy(subset.images), SPEC)).detach().numpy()
    assert found.mean_auroc == pytest.approx(auroc(one_class.labels, scores)[0])
    one_class.labels[:] = 1
    assert judge(network, one_class, SPEC).mean_auroc is None


def test_estimated_statistics_are_those_of_the_images_and_the_network_keeps_its_own() -> None:
    subset, network = noise(count=6, side=32), build("resnet18", classes=2, width=0.125)
    before = network.bn1.running_mean.clone()  # type: ignore[union-attr,operator]
    at = Surface(network, subset, SPEC, batch=3, batch_norm="estimated")
    assert torch.equal(network.bn1.running_mean, before)  # type: ignore[arg-type,union-attr]
    estimate_batch_norm(network, subset, SPEC, batch=3)
    assert at.loss(at.weights) == pytest.approx(judge(network, subset, SPEC).loss, rel=1e-6)
