"""LAMB against the published update in NumPy float64, and against AdamW."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.training.weights import SHAPES, start
from torch import Tensor

from thorax.errors import UsageError
from thorax.training.optimizers import LAMB, Lamb

Array = npt.NDArray[np.float64]

STEPS = 50
RATES = [0.002 * (step + 1) if step < 10 else 0.02 * 0.95 ** (step - 10) for step in range(STEPS)]


def slopes(step: int) -> list[Array]:
    rng = np.random.default_rng(2000 + step)
    return [3.0 * rng.standard_normal(shape) for shape in SHAPES]


def take(made: torch.optim.Optimizer, parameters: Sequence[Tensor], step: int) -> None:
    for parameter, slope in zip(parameters, slopes(step), strict=True):
        parameter.grad = torch.tensor(slope, dtype=parameter.dtype)
    for group in made.param_groups:
        group["lr"] = RATES[step]
    made.step()


def lamb(
    params: Sequence[Any],
    lr: float,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    exclude_1d: bool = True,
    **settings: Any,  # noqa: ANN401 - of the recipe
) -> LAMB:
    """Return the optimizer, without weight decay unless it is given."""
    given = {"beta1": betas[0], "beta2": betas[1], "weight_decay": 0.0, **settings}
    return LAMB(params, lr, Lamb(kind="lamb", **given), exclude_1d=exclude_1d)


def moved(
    make: Callable[[list[Tensor]], torch.optim.Optimizer], dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    parameters = start(dtype)
    made = make(parameters)
    for step in range(STEPS):
        take(made, parameters, step)
    return [parameter.detach() for parameter in parameters]


def reference(*, weight_decay: float, exclude_1d: bool, eps: float = 1e-6) -> list[Array]:
    """Write down 1904.00962, Algorithm 2, with beta 0.9 and 0.999."""
    weights = [parameter.detach().numpy() for parameter in start()]
    means = [np.zeros_like(weight) for weight in weights]
    squares = [np.zeros_like(weight) for weight in weights]
    for step, rate in enumerate(RATES):
        for k, slope in enumerate(slopes(step)):
            means[k] = 0.9 * means[k] + 0.1 * slope
            squares[k] = 0.999 * squares[k] + 0.001 * slope**2
            update = means[k] / (1 - 0.9 ** (step + 1))
            update = update / (np.sqrt(squares[k] / (1 - 0.999 ** (step + 1))) + eps)
            ratio = 1.0
            if not (exclude_1d and weights[k].ndim <= 1):
                update = update + weight_decay * weights[k]
                ratio = float(np.linalg.norm(weights[k]) / np.linalg.norm(update))
            weights[k] = weights[k] - rate * ratio * update
    return weights


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize("exclude_1d", [True, False])
def test_fifty_steps_agree_with_the_published_update(weight_decay: float, exclude_1d: bool) -> None:
    case: dict[str, Any] = {"weight_decay": weight_decay, "exclude_1d": exclude_1d}
    wanted = reference(**case)
    # Float32 weights, averages and powers of beta each round 50 times by 6e-8.
    for dtype, limit in ((torch.float64, 1e-12), (torch.float32, 3e-6)):
        found = moved(lambda p: lamb(p, 0.0, **case), dtype)
        for one, two in zip(found, wanted, strict=True):
            assert np.linalg.norm(one.double().numpy() - two) / np.linalg.norm(two) <= limit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_with_the_ratio_at_one_it_is_adamw(weight_decay: float, dtype: torch.dtype) -> None:
    case: dict[str, Any] = {"eps": 1e-6, "weight_decay": weight_decay}
    adamw = moved(lambda p: torch.optim.AdamW(p, 0.0, **case), dtype)
    found = moved(lambda p: lamb(p, 0.0, trust_ratio=False, exclude_1d=False, **case), dtype)
    rounding = 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(found, adamw, rtol=rounding, atol=rounding)
    trusting = moved(lambda p: lamb(p, 0.0, **case), dtype)
    assert not torch.allclose(trusting[0], adamw[0], rtol=1e-3)


def test_a_layer_moves_by_its_share_of_its_weights() -> None:
    weight = torch.randn(8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    before = weight.detach().clone()
    weight.grad = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    lamb([weight], lr=0.01).step()
    assert (weight.detach() - before).norm() / before.norm() == pytest.approx(0.01, rel=1e-4)


def test_zero_weights_and_zero_updates_have_the_ratio_one() -> None:
    empty = torch.zeros(2, 2, requires_grad=True)
    empty.grad = torch.ones(2, 2)
    still = torch.ones(2, 2, requires_grad=True)
    still.grad = torch.zeros(2, 2)
    lamb([empty, still], lr=0.5).step()
    torch.testing.assert_close(empty.detach(), torch.full((2, 2), -0.5))
    assert torch.equal(still, torch.ones(2, 2))


def test_gradients_are_read_and_not_changed() -> None:
    parameters = start()
    take(lamb(parameters, 0.1, weight_decay=0.1), parameters, 0)
    for parameter, slope in zip(parameters, slopes(0), strict=True):
        assert parameter.grad is not None
        assert np.array_equal(parameter.grad.numpy(), slope)


def test_bf16_weights_take_their_norms_in_float32() -> None:
    weight = torch.full((256, 256), 2.0, dtype=torch.bfloat16, requires_grad=True)
    weight.grad = torch.full((256, 256), 3.0, dtype=torch.bfloat16)
    lamb([weight], lr=0.25).step()
    torch.testing.assert_close(weight.detach(), torch.full_like(weight.detach(), 1.5))


def test_what_is_remembered_is_tensors_and_goes_on_to_the_bit() -> None:
    straight = moved(lambda p: lamb(p, 0.0, weight_decay=0.1))
    parameters = start()
    first = lamb(parameters, 0.0, weight_decay=0.1)
    for step in range(20):
        take(first, parameters, step)
    copies = [parameter.detach().clone().requires_grad_() for parameter in parameters]
    second = lamb(copies, 0.0, weight_decay=0.1)
    for parameter, copy in zip(parameters, copies, strict=True):
        assert all(isinstance(value, Tensor) for value in first.state[parameter].values())
        second.state[copy].update({k: v.clone() for k, v in first.state[parameter].items()})
    third_parameters = [copy.detach().clone().requires_grad_() for copy in copies]
    third = lamb(third_parameters, 99.0)
    third.load_state_dict(first.state_dict())
    for made, resumed in ((second, copies), (third, third_parameters)):
        for step in range(20, STEPS):
            take(made, resumed, step)
        assert all(map(torch.equal, resumed, straight))


def test_a_closure_is_computed_with_gradients_and_its_loss_returned() -> None:
    weight = torch.ones(2, 2, requires_grad=True)

    def closure() -> float:
        loss = (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.item())

    assert lamb([weight], lr=0.1).step(closure) == 4.0
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 0.9))


@pytest.mark.parametrize(
    "wrong",
    [{"lr": -0.1}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"eps": -1.0}],
    ids=str,
)
def test_wrong_arguments_are_refused_of_the_optimizer_and_of_a_group(wrong: dict[str, Any]) -> None:
    betas = dict(zip(("beta1", "beta2"), wrong.get("betas", (0.9, 0.999)), strict=True))
    settings = Lamb.model_construct(**{**dict(Lamb(kind="lamb")), **wrong, **betas})
    with pytest.raises(UsageError) as caught:
        LAMB([torch.ones(2)], wrong.get("lr", 0.1), settings)
    assert caught.value.code == "optimizer-argument"
    with pytest.raises(UsageError, match="allowed is"):
        lamb([{"params": [torch.ones(2)], **wrong}], lr=0.1)
