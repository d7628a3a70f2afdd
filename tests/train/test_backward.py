"""The short way to the engine gives what `loss.backward()` gives."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from fitwell.train import _passes
from fitwell.train._passes import backward


def problem(dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(dtype), torch.randn(
        16, 4, dtype=dtype
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_gradients_equal_those_of_the_method_and_add_up(dtype: torch.dtype) -> None:
    model, x = problem(dtype)
    twin = copy.deepcopy(model)
    for _ in range(2):
        backward(model(x).square().mean())
        twin(x).square().mean().backward()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert p.grad is not None
        assert torch.equal(p.grad, q.grad)


def test_the_short_way_is_taken_and_hooks_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = problem()
    seen: list[Tensor] = []
    model[0].weight.register_post_accumulate_grad_hook(seen.append)

    def refuse(self: Tensor) -> None:
        raise AssertionError("took the long way")

    monkeypatch.setattr(Tensor, "backward", refuse)
    backward(model(x).square().mean())
    assert len(seen) == 1


def test_without_the_engine_the_method_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_passes, "_RUN", None)
    model, x = problem()
    backward(model(x).square().mean())
    assert model[0].weight.grad is not None


def test_the_constant_is_left_alone() -> None:
    weight = torch.ones((), requires_grad=True)
    backward(weight * 1)  # the gradient of the weight is the constant itself
    backward(weight * 1)
    loss = weight.clone()
    backward(loss)
    assert weight.grad is not None
    assert weight.grad.item() == 3
    assert _passes._ONE.item() == 1


@pytest.mark.parametrize("wrong", ["no graph", "several numbers"])
def test_errors_are_torchs(wrong: str) -> None:
    loss = torch.ones(()) if wrong == "no graph" else torch.ones(2, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match=r"does not require grad|only for scalar outputs"):
        backward(loss)
