"""What the rules about losses claim, shown by torch itself."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0], [1.0, 1.0, 4.0], [0.5, 0.0, -0.5]])
CLASSES = torch.tensor([0, 1, 2, 1])
BINARY = torch.tensor([1.0, 0.0, 1.0, 0.0])


def test_softmax_before_cross_entropy_has_a_floor_and_log_softmax_does_not_matter() -> None:
    sure = F.one_hot(torch.arange(10), 10).float()
    least = F.cross_entropy(sure, torch.arange(10)).item()
    assert least == pytest.approx(math.log(math.e + 9) - 1)
    assert 1.46 < least < 1.4613
    once = F.cross_entropy(LOGITS, CLASSES)
    torch.testing.assert_close(F.cross_entropy(F.log_softmax(LOGITS, 1), CLASSES), once)


def test_sigmoid_before_bce_with_logits_has_a_floor() -> None:
    least = F.binary_cross_entropy_with_logits(torch.zeros(1), torch.zeros(1))
    assert least.item() == pytest.approx(math.log(2))


def test_bce_refuses_what_is_no_probability() -> None:
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        F.binary_cross_entropy(LOGITS[:, 0], BINARY)


def test_nll_loss_computes_no_logarithm() -> None:
    assert F.nll_loss(1000 * LOGITS, CLASSES).item() < -1000
    assert -1 <= F.nll_loss(LOGITS.softmax(1), CLASSES).item() <= 0


def test_log_of_softmax_is_infinite_where_log_softmax_is_not() -> None:
    far = torch.tensor([[0.0, 105.0]], requires_grad=True)
    loss = F.nll_loss(torch.log(F.softmax(far, dim=1)), torch.tensor([0]))
    loss.backward()
    assert loss.isinf()
    assert far.grad is not None
    assert far.grad.isnan().any()
    assert F.nll_loss(F.log_softmax(far, dim=1), torch.tensor([0])).item() == pytest.approx(105)
    assert torch.log(torch.sigmoid(torch.tensor(-105.0))).isinf()
    assert F.logsigmoid(torch.tensor(-105.0)).item() == pytest.approx(-105)


def test_swapped_arguments_give_another_number_without_a_word() -> None:
    right = F.binary_cross_entropy_with_logits(LOGITS[:, 0], BINARY)
    assert F.binary_cross_entropy_with_logits(BINARY, LOGITS[:, 0]) != right
    with pytest.raises((RuntimeError, NotImplementedError)):
        F.cross_entropy(CLASSES, LOGITS)


@pytest.mark.filterwarnings("ignore:size_average")
def test_a_loss_made_with_tensors() -> None:
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with more than one value"):
        nn.CrossEntropyLoss(LOGITS, CLASSES)  # type: ignore[arg-type]
    made = nn.MSELoss(torch.ones(1), torch.ones(1))  # type: ignore[arg-type]
    assert not hasattr(made, "backward")


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.float32, "Float"), (torch.int32, "Int"), (torch.bool, "Bool")]
)
def test_cross_entropy_takes_long_indices(dtype: torch.dtype, name: str) -> None:
    with pytest.raises(RuntimeError, match=f"Long or Byte, but got {name}"):
        F.cross_entropy(LOGITS, CLASSES.to(dtype))
    F.cross_entropy(LOGITS, CLASSES.to(torch.uint8))


def test_binary_cross_entropies_take_no_integers() -> None:
    with pytest.raises(RuntimeError, match="Found dtype Long but expected Float"):
        F.binary_cross_entropy(LOGITS[:, 0].sigmoid(), BINARY.long())
    with pytest.raises(RuntimeError, match="can't be cast"):
        F.binary_cross_entropy_with_logits(LOGITS[:, 0], BINARY.long())
    F.mse_loss(LOGITS[:, 0], BINARY.long())  # regression losses take them


def test_one_hot_targets() -> None:
    hot = F.one_hot(CLASSES, 3)
    with pytest.raises(RuntimeError, match="class probabilities, got Long"):
        F.cross_entropy(LOGITS, hot)
    soft = F.cross_entropy(LOGITS, hot.float())
    torch.testing.assert_close(soft, F.cross_entropy(LOGITS, CLASSES))
    for target in (hot, hot.float()):
        with pytest.raises(RuntimeError, match="multi-target"):
            F.nll_loss(LOGITS, target)
    with pytest.raises(RuntimeError, match="1-D"):
        F.multi_margin_loss(LOGITS, hot)


def test_softmax_without_dim_goes_over_the_batch_of_three_dimensions() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        of_three, of_two = F.softmax(torch.randn(2, 3, 4)), F.softmax(torch.randn(2, 3))
    torch.testing.assert_close(of_three.sum(dim=0), torch.ones(3, 4))
    torch.testing.assert_close(of_two.sum(dim=1), torch.ones(2))
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        nn.LogSoftmax()(LOGITS)


def test_softmax_over_the_batch_makes_samples_depend_on_each_other() -> None:
    alone, together = LOGITS[:1].softmax(dim=0), LOGITS.softmax(dim=0)
    assert (alone == 1).all()
    assert not torch.allclose(together.sum(dim=1), torch.ones(4))


def test_a_squared_error_of_a_sure_and_wrong_softmax_has_no_gradient() -> None:
    sure = torch.tensor([[30.0, 0.0]], requires_grad=True)
    wrong = torch.tensor([[0.0, 1.0]])
    (squared,) = torch.autograd.grad(F.mse_loss(sure.softmax(1), wrong), sure)
    (entropy,) = torch.autograd.grad(F.cross_entropy(sure, wrong), sure)
    assert squared.abs().max() < 1e-10
    assert entropy.abs().max() > 0.9


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss])
def test_a_column_and_a_vector_are_compared_each_with_each(loss: object) -> None:
    assert callable(loss)
    column, vector = BINARY[:, None], BINARY
    with pytest.warns(UserWarning, match="Using a target size"):
        assert loss(column, vector).item() > 0
    assert loss(column, vector[:, None]).item() == 0


def test_a_divergence_of_probabilities_is_negative() -> None:
    given, wanted = LOGITS.softmax(1), LOGITS.flip(0).softmax(1)
    assert F.kl_div(given, wanted, reduction="batchmean").item() < 0
    right = F.kl_div(given.log(), wanted, reduction="batchmean")
    assert right.item() > 0
    with pytest.warns(UserWarning, match="batchmean"):
        mean = F.kl_div(given.log(), wanted)
    torch.testing.assert_close(mean * 3, right)


@pytest.mark.parametrize("step", [torch.round, torch.floor, torch.ceil, torch.sign])
def test_the_gradient_of_rounding_is_zero(step: object) -> None:
    assert callable(step)
    out = LOGITS[:, 0].clone().requires_grad_()
    F.mse_loss(step(out), BINARY + 1).backward()
    assert out.grad is not None
    assert (out.grad == 0).all()
