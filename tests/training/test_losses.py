from __future__ import annotations

import math

import pytest
import torch

from earmark.training.losses import bootstrapped, focal, loss_of, smoothed, softmax
from earmark.training.recipe import LossRecipe

LOGITS = torch.tensor([[0.0, math.log(3)], [-math.log(3), 20.0]])  # scores 1/2, 3/4, 1/4, 1
TARGETS = torch.tensor([[1.0, 1.0], [0.0, 1.0]])


def test_cross_entropy_of_a_case_worked_by_hand() -> None:
    expected = -(math.log(1 / 2) + math.log(3 / 4) + math.log(3 / 4) + math.log(torch.tensor(20.0).sigmoid())) / 4
    assert loss_of(LOGITS, TARGETS, LossRecipe()).item() == pytest.approx(expected, rel=1e-5)


def test_focal_loss_of_a_case_worked_by_hand() -> None:
    # (1 - p)^2 is 1/4, 1/16, 1/16 and 0
    expected = -(math.log(1 / 2) / 4 + 2 * math.log(3 / 4) / 16) / 4
    assert loss_of(LOGITS, TARGETS, LossRecipe(name="focal")).item() == pytest.approx(expected, rel=1e-5)


def test_focal_loss_without_focus_is_cross_entropy_for_soft_targets_too() -> None:
    logits, targets = torch.randn(8, 5), torch.rand(8, 5)
    torch.testing.assert_close(focal(logits, targets, 0.0), loss_of(logits, targets, LossRecipe()))


def test_focal_loss_is_finite_where_the_network_is_sure_and_wrong() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = focal(logits, torch.tensor([[0.0, 1.0]]), 2.0)
    loss.backward()
    assert loss.item() == pytest.approx(200)
    assert torch.isfinite(logits.grad).all()


def test_smoothed_targets_lie_between() -> None:
    assert smoothed(torch.tensor([0.0, 0.5, 1.0]), 0.2).tolist() == pytest.approx([0.1, 0.5, 0.9])
    plain, smooth = (loss_of(LOGITS, TARGETS, LossRecipe(label_smoothing=s)) for s in (0.0, 0.2))
    torch.testing.assert_close(
        smooth, torch.nn.functional.binary_cross_entropy_with_logits(LOGITS, smoothed(TARGETS, 0.2))
    )
    assert smooth > plain  # being sure of what is right costs


def test_bootstrapping_believes_the_network_in_part_and_sends_no_gradient_that_way() -> None:
    logits = LOGITS.clone().requires_grad_()
    targets = bootstrapped(logits, TARGETS, 0.75)
    assert not targets.requires_grad
    assert targets[0].tolist() == pytest.approx([0.75 + 0.125, 0.75 + 0.1875])
    whole = loss_of(LOGITS, TARGETS, LossRecipe(name="bootstrap", bootstrap_weight=1.0))
    torch.testing.assert_close(whole, loss_of(LOGITS, TARGETS, LossRecipe()))


def test_half_precision_logits_give_a_loss_in_float32() -> None:
    assert loss_of(LOGITS.bfloat16(), TARGETS, LossRecipe()).dtype == torch.float32


def test_softmax_of_a_case_worked_by_hand() -> None:
    # parts of the first clip are 1/4 and 3/4, the softmax gives it 1/4 and 3/4 too; the second has one label, of 3/4
    logits, targets = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]]), torch.tensor([[0.25, 0.75], [0.0, 1.0]])
    first = -(math.log(1 / 4) / 4 + math.log(3 / 4) * 3 / 4)
    assert softmax(logits, targets).item() == pytest.approx((first - math.log(3 / 4)) / 4, rel=1e-5)
    assert softmax(logits, 0.5 * targets).item() == pytest.approx(softmax(logits, targets).item(), rel=1e-5)


def test_softmax_counts_as_much_as_it_weighs_beside_the_loss_of_each_label() -> None:
    plain, both = (loss_of(LOGITS, TARGETS, LossRecipe(softmax_weight=weight)) for weight in (0.0, 0.5))
    torch.testing.assert_close(both, plain + 0.5 * softmax(LOGITS, TARGETS))


def test_softmax_leaves_a_clip_without_labels_alone() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    softmax(logits, torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])).backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == [0, 0, 0]
    assert logits.grad[1].sum().item() == pytest.approx(0, abs=1e-6)  # differences alone are moved
