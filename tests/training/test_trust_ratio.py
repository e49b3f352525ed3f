"""Norms of layers, and who is adapted."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from thorax.errors import UsageError
from thorax.training.trust_ratio import alike, lamb_ratio, lars_ratio, norms


def test_norms_are_the_same_for_any_memory_layout() -> None:
    layer = torch.randn(64, 32, 3, 3, generator=torch.Generator().manual_seed(0))
    layouts = [layer, layer.to(memory_format=torch.channels_last), layer.transpose(0, 2)]
    sizes = norms([*layouts, torch.tensor(3.0).expand(4, 4), torch.tensor(-2.0), torch.empty(0)])
    exact = layer.double().norm().item()
    assert sizes.tolist() == pytest.approx([exact, exact, exact, 12, 2, 0], rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_norms_are_at_least_float32_and_those_of_one_tensor_at_a_time(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator).to(dtype) for shape in ((300, 40), (7,))]
    found = norms(tensors)
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    exact = torch.stack([tensor.double().norm() for tensor in tensors])
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("make", [torch.ones, torch.rand, torch.randn])
def test_the_norm_of_a_large_float32_layer_keeps_its_digits(make: Callable[..., Tensor]) -> None:
    layer = 0.1 * make(2048, 2048)
    exact = layer.double().norm()
    assert norms([layer])[0].item() == pytest.approx(exact.item(), rel=1e-5)


def test_parameters_without_a_gradient_are_left_out_and_the_rest_sorted_by_dtype() -> None:
    one, two, three = (torch.ones(2, dtype=t) for t in (torch.float32, torch.float64, torch.half))
    one.grad, two.grad = torch.ones_like(one), torch.ones_like(two)
    assert [[p.dtype for p in found] for found in alike([one, two, three, one])] == [
        [torch.float32, torch.float32],
        [torch.float64],
    ]


def test_a_sparse_gradient_is_refused() -> None:
    table = torch.nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(UsageError, match="sparse") as caught:
        alike(table.parameters())
    assert caught.value.code == "sparse-gradient"


def test_a_ratio_made_of_nothing_is_one() -> None:
    weight, slope = torch.tensor([0.0, 2.0, 0.0, 4.0]), torch.tensor([3.0, 0.0, 0.0, 2.0])
    assert lamb_ratio(weight, slope).tolist() == [1, 1, 1, 2]
    ratio = lars_ratio(weight, slope, trust=0.5, decay=0.25, eps=1.0)
    assert ratio.tolist() == pytest.approx([1, 1, 1, 0.5 * 4 / (2 + 0.25 * 4 + 1)])
