"""The masked loss against plain ones."""

import pytest
import torch
from torch.nn import functional

from thorax.training.losses import Loss, masked_bce


def test_all_known_is_plain_binary_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, generator=generator)
    labels = torch.randint(0, 2, (5, 3), generator=generator, dtype=torch.int8)
    plain = functional.binary_cross_entropy_with_logits(logits, labels.float())
    torch.testing.assert_close(masked_bce(logits, labels), plain)


def test_unknown_labels_are_as_if_they_were_not_there() -> None:
    logits = torch.tensor([[0.3, -2.0], [1.5, 9.0]], requires_grad=True)
    labels = torch.tensor([[1, 0], [0, -1]], dtype=torch.int8)
    loss = masked_bce(logits, labels)
    kept = torch.tensor([0.3, -2.0, 1.5])
    torch.testing.assert_close(
        loss, functional.binary_cross_entropy_with_logits(kept, torch.tensor([1.0, 0.0, 0.0]))
    )
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[1, 1] == 0
    assert (logits.grad.flatten()[:3] != 0).all()


def test_an_infinite_logit_of_an_unknown_label_does_no_harm() -> None:
    logits = torch.tensor([[torch.inf, 0.0]])
    assert masked_bce(logits, torch.tensor([[-1, 1]], dtype=torch.int8)).isfinite()


def test_nothing_known_gives_zero() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = masked_bce(logits, torch.full((2, 3), -1, dtype=torch.int8))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_parts_of_a_batch_sum_to_its_loss_and_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 3, generator=generator, requires_grad=True)
    labels = torch.randint(-1, 2, (8, 3), generator=generator, dtype=torch.int8)
    whole = masked_bce(logits, labels, smoothing=0.1)
    (slope,) = torch.autograd.grad(whole, logits)
    known = int((labels != -1).sum())
    parts = [
        masked_bce(logits[rows], labels[rows], known=known, smoothing=0.1)
        for rows in (slice(0, 5), slice(5, 6), slice(6, 8))
    ]
    total = torch.stack(parts).sum()
    torch.testing.assert_close(total, whole)
    (summed,) = torch.autograd.grad(total, logits)
    torch.testing.assert_close(summed, slope)
    assert masked_bce(logits, torch.full_like(labels, -1), known=0) == 0


def test_smoothing_moves_known_targets_towards_a_half() -> None:
    logits = torch.tensor([[0.3, -2.0], [1.5, 9.0]])
    labels = torch.tensor([[1, 0], [0, -1]], dtype=torch.int8)
    wanted = torch.tensor([0.9, 0.1, 0.1])
    torch.testing.assert_close(
        masked_bce(logits, labels, smoothing=0.2),
        functional.binary_cross_entropy_with_logits(logits.flatten()[:3], wanted),
    )
    assert torch.equal(masked_bce(logits, labels, smoothing=0.0), masked_bce(logits, labels))


def test_smoothing_is_told_as_a_share_below_one() -> None:
    assert Loss().label_smoothing == 0
    for wrong in (-0.1, 1.0):
        with pytest.raises(ValueError, match="label_smoothing"):
            Loss(label_smoothing=wrong)
