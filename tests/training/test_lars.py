"""LARS against the published update in NumPy float64, and against momentum SGD."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.training.weights import SHAPES, start
from torch import Tensor

from thorax.errors import UsageError
from thorax.training.optimizers import LARS, Lars

Array = npt.NDArray[np.float64]

STEPS = 50
STEADY = [0.7] * STEPS
CHANGING = [0.1 * (step + 1) if step < 10 else 1.0 * 0.93 ** (step - 10) for step in range(STEPS)]


def slopes(step: int) -> list[Array]:
    rng = np.random.default_rng(1000 + step)
    return [3.0 * rng.standard_normal(shape) for shape in SHAPES]


def take(made: torch.optim.Optimizer, parameters: Sequence[Tensor], step: int, rate: float) -> None:
    for parameter, slope in zip(parameters, slopes(step), strict=True):
        parameter.grad = torch.tensor(slope, dtype=parameter.dtype)
    for group in made.param_groups:
        group["lr"] = rate
    made.step()


def lars(
    params: Sequence[Any],
    lr: float,
    *,
    exclude_1d: bool = True,
    **settings: Any,  # noqa: ANN401
) -> LARS:
    """Return the optimizer, without weight decay unless it is given."""
    made = Lars(kind="lars", **{"weight_decay": 0.0, **settings})
    return LARS(params, lr, made, exclude_1d=exclude_1d)


def moved(
    make: Callable[[list[Tensor]], torch.optim.Optimizer],
    rates: Sequence[float],
    dtype: torch.dtype = torch.float64,
) -> list[Tensor]:
    parameters = start(dtype)
    made = make(parameters)
    for step, rate in enumerate(rates):
        take(made, parameters, step, rate)
    return [parameter.detach() for parameter in parameters]


@dataclass(frozen=True)
class Settings:
    """Of the reference, by the names of ours."""

    momentum: float = 0.9
    weight_decay: float = 0.0
    trust_coefficient: float = 0.001
    eps: float = 1e-7
    nesterov: bool = False
    momentum_style: str = "paper"
    exclude_1d: bool = True
    momentum_correction: bool = False


def reference(rates: Sequence[float], **settings: Any) -> list[Array]:  # noqa: ANN401
    """Write down 1708.03888, Algorithm 1, as MLPerf's TensorFlow 2 reference has it."""
    options = Settings(**settings)
    weights = [parameter.detach().numpy() for parameter in start()]
    memories = [np.zeros_like(weight) for weight in weights]
    for step, rate in enumerate(rates):
        for k, slope in enumerate(slopes(step)):
            weight, skipped = weights[k], options.exclude_1d and weights[k].ndim <= 1
            decay, ratio = (0.0 if skipped else options.weight_decay), 1.0
            sizes = float(np.linalg.norm(weight)), float(np.linalg.norm(slope))
            if not skipped and options.trust_coefficient and sizes[0] > 0 and sizes[1] > 0:
                ratio = (
                    options.trust_coefficient
                    * sizes[0]
                    / (sizes[1] + decay * sizes[0] + options.eps)
                )
            slope = slope + decay * weight
            if options.momentum_style == "paper":
                if options.momentum_correction and step:
                    memories[k] *= rate / rates[step - 1]
                memories[k] = options.momentum * memories[k] - rate * ratio * slope
                ahead = options.momentum * memories[k] - rate * ratio * slope
                weights[k] = weight + (ahead if options.nesterov else memories[k])
            else:
                memories[k] = options.momentum * memories[k] + ratio * slope
                ahead = ratio * slope + options.momentum * memories[k]
                weights[k] = weight - rate * (ahead if options.nesterov else memories[k])
    return weights


def worst(found: Sequence[Tensor], wanted: Sequence[Array]) -> float:
    """Return the largest relative difference of a layer."""
    return max(
        float(np.linalg.norm(one.double().numpy() - two) / np.linalg.norm(two))
        for one, two in zip(found, wanted, strict=True)
    )


CASES = [
    {
        "momentum_style": style,
        "nesterov": nesterov,
        "weight_decay": decay,
        "exclude_1d": exclude,
        "trust_coefficient": trust,
    }
    for style, nesterov, decay, exclude, trust in itertools.product(
        ("paper", "torch"), (False, True), (0.0, 0.05), (True, False), (0.001, 0.3)
    )
]


@pytest.mark.parametrize("rates", [STEADY, CHANGING], ids=["steady", "changing"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_fifty_steps_agree_with_the_published_update(
    case: dict[str, Any], rates: list[float]
) -> None:
    wanted = reference(rates, **case)
    assert worst(moved(lambda p: lars(p, 0.0, **case), rates), wanted) <= 1e-12
    # Fifty float32 steps round to half of 2^-23 each, at random: far below 50 * 6e-8 = 3e-6.
    assert worst(moved(lambda p: lars(p, 0.0, **case), rates, torch.float32), wanted) <= 1e-6


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_corrected_momentum_of_the_paper_is_that_of_torch(nesterov: bool) -> None:
    case: dict[str, Any] = {"nesterov": nesterov, "weight_decay": 0.05, "trust_coefficient": 0.3}
    corrected = moved(lambda p: lars(p, 0.0, momentum_correction=True, **case), CHANGING)
    assert worst(corrected, reference(CHANGING, momentum_correction=True, **case)) <= 1e-12
    outside = moved(lambda p: lars(p, 0.0, momentum_style="torch", **case), CHANGING)
    assert all(map(torch.equal, corrected, outside))
    plain = moved(lambda p: lars(p, 0.0, **case), CHANGING)
    assert not torch.allclose(plain[0], outside[0], rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, False), (0.9, True), (0.0, False)])
def test_without_trust_it_is_the_sgd_of_torch(
    momentum: float, nesterov: bool, dtype: torch.dtype
) -> None:
    case: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov, "weight_decay": 0.05}
    off: dict[str, Any] = {**case, "trust_coefficient": 0, "exclude_1d": False}
    for rates in (STEADY, CHANGING):
        sgd = moved(lambda p: torch.optim.SGD(p, 0.0, **case), rates, dtype)
        same = moved(lambda p: lars(p, 0.0, momentum_style="torch", **off), rates, dtype)
        assert all(map(torch.equal, same, sgd))
    sgd = moved(lambda p: torch.optim.SGD(p, 0.0, **case), STEADY, dtype)
    paper = moved(lambda p: lars(p, 0.0, **off), STEADY, dtype)
    rounding = 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(paper, sgd, rtol=rounding, atol=rounding)


def test_a_layer_moves_by_its_share_of_its_weights_whatever_the_gradient() -> None:
    for scale in (1e-3, 1.0, 1e3):
        weight = torch.randn(8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
        before = weight.detach().clone()
        weight.grad = scale * torch.ones(8, 8)
        lars([weight], lr=2.0, eps=0.0).step()
        assert (weight.detach() - before).norm() / before.norm() == pytest.approx(0.002, rel=1e-4)


def test_zero_weights_and_zero_gradients_have_the_ratio_one() -> None:
    empty = torch.zeros(2, 2, requires_grad=True)
    empty.grad = torch.ones(2, 2)
    still = torch.ones(2, 2, requires_grad=True)
    still.grad = torch.zeros(2, 2)
    lars([empty, still], lr=0.5, weight_decay=0.1, eps=0.0).step()
    torch.testing.assert_close(empty.detach(), torch.full((2, 2), -0.5))
    torch.testing.assert_close(still.detach(), torch.full((2, 2), 1 - 0.5 * 0.1))


def test_groups_keep_their_own_arguments_and_a_parameter_without_gradient_stays() -> None:
    one, two, idle = (torch.ones(2, 2, requires_grad=True) for _ in range(3))
    groups = [
        {"params": [one], "weight_decay": 0.5},
        {"params": [two, idle], "trust_coefficient": 0.0},
    ]
    optimizer = lars(groups, lr=0.1)
    one.grad, two.grad = torch.ones(2, 2), torch.ones(2, 2)
    optimizer.step()
    ratio = 0.001 * 2 / (2 + 0.5 * 2 + 1e-7)
    torch.testing.assert_close(one.detach(), torch.full((2, 2), 1 - 0.1 * ratio * 1.5))
    torch.testing.assert_close(two.detach(), torch.full((2, 2), 0.9))
    assert torch.equal(idle, torch.ones(2, 2))
    assert idle not in optimizer.state


@pytest.mark.parametrize("style", ["paper", "torch"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_gradients_are_read_and_not_changed(style: Any, nesterov: bool) -> None:  # noqa: ANN401
    parameters = start()
    made = lars(parameters, 0.1, weight_decay=0.1, nesterov=nesterov, momentum_style=style)
    take(made, parameters, 0, 0.1)
    for parameter, slope in zip(parameters, slopes(0), strict=True):
        assert parameter.grad is not None
        assert np.array_equal(parameter.grad.numpy(), slope)


def test_bf16_weights_take_their_norms_in_float32() -> None:
    weight = torch.full((256, 256), 2.0, dtype=torch.bfloat16, requires_grad=True)
    weight.grad = torch.full((256, 256), 3.0, dtype=torch.bfloat16)
    optimizer = lars([weight], lr=1.0, trust_coefficient=0.25)
    optimizer.step()
    assert weight.dtype == optimizer.state[weight]["momentum_buffer"].dtype == torch.bfloat16
    assert torch.equal(weight, torch.full_like(weight, 2.0 - 0.25 * 2.0))


def test_what_is_remembered_is_tensors_and_goes_on_to_the_bit() -> None:
    straight = moved(lambda p: lars(p, 0.0, momentum_correction=True), CHANGING)
    parameters = start()
    first = lars(parameters, 0.0, momentum_correction=True)
    for step in range(20):
        take(first, parameters, step, CHANGING[step])
    copies = [parameter.detach().clone().requires_grad_() for parameter in parameters]
    second = lars(copies, 0.0, momentum_correction=True)
    for parameter, copy in zip(parameters, copies, strict=True):
        assert all(isinstance(value, Tensor) for value in first.state[parameter].values())
        second.state[copy].update({k: v.clone() for k, v in first.state[parameter].items()})
    third_parameters = [copy.detach().clone().requires_grad_() for copy in copies]
    third = lars(third_parameters, 99.0)
    third.load_state_dict(first.state_dict())
    for made, resumed in ((second, copies), (third, third_parameters)):
        for step in range(20, STEPS):
            take(made, resumed, step, CHANGING[step])
        assert all(map(torch.equal, resumed, straight))


def test_a_closure_is_computed_with_gradients_and_its_loss_returned() -> None:
    weight = torch.ones(2, 2, requires_grad=True)
    optimizer = lars([weight], lr=0.1, trust_coefficient=0)

    def closure() -> float:
        loss = (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.item())

    assert optimizer.step(closure) == 4.0
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 0.8))


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": -0.1},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"momentum": 1.0},
        {"weight_decay": -1e-4},
        {"trust_coefficient": -0.001},
        {"eps": -1.0},
        {"momentum_style": "keras"},
        {"nesterov": True, "momentum": 0.0},
        {"momentum_correction": True, "momentum_style": "torch"},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_of_the_optimizer_and_of_a_group(wrong: dict[str, Any]) -> None:
    settings = Lars.model_construct(**{**dict(Lars(kind="lars")), **wrong})
    with pytest.raises(UsageError) as caught:
        LARS([torch.ones(2)], wrong.get("lr", 0.1), settings)
    assert caught.value.code == "optimizer-argument"
    with pytest.raises(UsageError, match="allowed is"):
        lars([{"params": [torch.ones(2)], **wrong}], lr=0.1)
