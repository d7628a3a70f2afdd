"""What the rules on evaluation say is so in torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.Linear(32, 3))


def batches(size: int = 10, batch_size: int = 4) -> DataLoader[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size, 4, generator=generator)
    y = torch.randint(0, 3, (size,), generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=batch_size)


def test_a_new_model_is_in_training_mode_and_no_grad_does_not_change_it() -> None:
    model, x = net(), torch.randn(8, 4)
    before = model[1].running_mean.clone()
    with torch.no_grad():
        assert model.training
        assert not torch.equal(model(x), model(x))
        assert not torch.equal(before, model[1].running_mean)
        model.load_state_dict(net().state_dict())
        assert model.training, "loading weights leaves the mode as it is"
        model.eval()
        assert torch.equal(model(x), model(x))


def test_eval_does_not_switch_off_gradients() -> None:
    model, x = net().eval(), torch.randn(8, 4)
    assert model(x).requires_grad
    with torch.no_grad():
        assert not model(x).requires_grad


def test_eval_holds_until_train_is_called() -> None:
    model, loader = net(), batches()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    modes = []
    for _ in range(3):
        for x, y in loader:
            modes.append(model.training)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
    assert modes == [True] * 3 + [False] * 6


def test_a_mean_of_batch_means_is_not_the_mean_with_a_short_batch() -> None:
    model, loader = net().eval(), batches(9)
    x, y = loader.dataset.tensors  # type: ignore[attr-defined]
    with torch.no_grad():
        whole = F.cross_entropy(model(x), y).item()
        means = [F.cross_entropy(model(a), b).item() for a, b in loader]
        weighted = sum(F.cross_entropy(model(a), b).item() * len(a) for a, b in loader) / len(x)
    assert abs(sum(means) / len(loader) - whole) > 1e-3
    assert weighted == pytest.approx(whole, rel=1e-5)
    assert sum(means) / len(x) < 0.35 * whole, "divided by examples it is far too small"


def test_a_count_divided_by_batches_exceeds_one() -> None:
    correct = 0
    loader = batches()
    for _, y in loader:
        correct += (y == y.clone()).sum().item()
    assert correct / len(loader) > 1
    assert correct / len(loader.dataset) == 1  # type: ignore[arg-type]


def test_inside_the_loop_only_the_last_average_is_right() -> None:
    total, averages, divided = 0.0, [], 0.0
    loader = batches()
    for x, _ in loader:
        total += len(x)
        divided += len(x)
        averages.append(total / len(loader.dataset))  # type: ignore[arg-type]
        divided /= len(loader.dataset)  # type: ignore[arg-type]
    assert averages == [0.4, 0.8, 1.0]
    assert divided < 0.3


def test_a_return_inside_the_loop_sees_one_batch() -> None:
    def measure() -> int:
        seen = 0
        for x, _ in batches():
            seen += len(x)
            return seen
        return seen

    assert measure() == 4


def test_a_method_that_is_not_called_does_nothing() -> None:
    model = net()
    model.eval  # noqa: B018
    assert model.training
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.randn(4, 4)).sum().backward()
    weight = model[0].weight.clone()
    optimizer.step  # noqa: B018
    optimizer.zero_grad  # noqa: B018
    assert torch.equal(model[0].weight, weight)
    assert model[0].weight.grad is not None


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_context_without_parentheses_raises(context: type) -> None:
    with pytest.raises(TypeError, match="context manager"):
        with context:  # type: ignore[attr-defined]
            pass


@pytest.mark.parametrize("decorator", [torch.no_grad, torch.no_grad(), torch.inference_mode])
def test_a_decorator_needs_no_parentheses(decorator: Callable[..., object]) -> None:
    assert decorator(torch.is_grad_enabled)() is False  # type: ignore[operator]


def test_a_context_that_is_not_entered_changes_nothing() -> None:
    torch.no_grad()
    torch.inference_mode()
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_argmax_over_the_batch_gives_no_classes() -> None:
    outputs, labels = torch.eye(3)[[0, 1, 2, 1]], torch.tensor([0, 1, 2, 1])
    assert outputs.argmax(dim=1).tolist() == labels.tolist()
    assert outputs.argmax(dim=0).shape == (3,)
    assert outputs.argmax().shape == ()
    with pytest.raises(RuntimeError):
        outputs.argmax(dim=0) == labels  # noqa: B015


def test_half_is_no_threshold_for_logits() -> None:
    logits = torch.tensor([0.3, 0.7, -3.0])
    assert (logits > 0.5).tolist() != (logits.sigmoid() > 0.5).tolist()
    assert (logits > 0).tolist() == (logits.sigmoid() > 0.5).tolist()
    assert torch.sigmoid(torch.tensor(0.5)).item() == pytest.approx(0.62, abs=0.005)
    assert logits.round().tolist()[2] == -3.0
    metrics = pytest.importorskip("sklearn.metrics")
    with pytest.raises(ValueError, match="continuous"):
        metrics.accuracy_score([0, 1, 0], logits.numpy())


def test_the_best_of_many_looks_better_than_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    test = torch.rand(50, 200, generator=generator) < 0.5  # guesses on a test set of 200
    assert test.float().mean(dim=1).max() > 0.55
