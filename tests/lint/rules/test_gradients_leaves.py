"""Tensors that are trained by hand, and habits of old versions."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in

FIT = """\
import torch
from torch import nn

def fit(x, y, lr=0.1):
    {made}
    for _ in range(100):
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        {update}
    return w, b
"""
LEAVES = "w = torch.randn(3, requires_grad=True); b = torch.zeros(1, requires_grad=True)"
CLEAR = "; w.grad = None; b.grad = None"
IN_PLACE = [
    FIT.format(made=LEAVES, update="w.sub_(lr * w.grad)" + CLEAR),
    FIT.format(made=LEAVES, update="b[0] = 0.0; w.grad = None"),
    FIT.format(
        made="w = nn.Parameter(torch.zeros(3)); b = torch.zeros(1, requires_grad=True)",
        update="w -= lr * w.grad" + CLEAR,
    ),
    FIT.format(
        made="w = torch.zeros(3).requires_grad_(); b = torch.zeros(1).requires_grad_()",
        update="b += -lr * b.grad" + CLEAR,
    ),
    """\
    import torch
    from torch import nn

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(8))
            self.weight.uniform_(-0.1, 0.1)

        def forward(self, x):
            return x * self.weight
    """,
]


@pytest.mark.parametrize("text", IN_PLACE)
def test_a_change_of_a_leaf_in_place_is_found(text: str) -> None:
    assert rules_in(text) == ["in-place-on-leaf"]


NOT_IN_PLACE = [
    FIT.format(made=LEAVES, update="with torch.no_grad(): w -= lr * w.grad; w.grad.zero_()"),
    FIT.format(made="w = torch.zeros(3); b = torch.zeros(1)", update="w += 1").replace(
        "        loss.backward()\n", ""
    ),
    """\
    import torch
    from torch import nn

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(8))
            nn.init.uniform_(self.weight, -0.1, 0.1)
            self.register_buffer("mean", torch.zeros(8))
            self.count = torch.zeros(1)

        def forward(self, x):
            self.count += 1
            return x * self.weight
    """,
    """\
    import torch

    @torch.no_grad()
    def project(x):
        w = torch.zeros(3, requires_grad=True)
        w += x
        return w
    """,
    """\
    import torch

    def sgd(params, lr):
        with torch.no_grad():
            for p in params:
                p -= lr * p.grad
                p.grad.zero_()
    """,
    """\
    import torch

    def attack(x, step):
        delta = torch.zeros_like(x, requires_grad=True)
        out = delta + step
        out += 1
        return out
    """,
]


@pytest.mark.parametrize("text", NOT_IN_PLACE)
def test_other_changes_in_place_are_none(text: str) -> None:
    assert rules_in(text) == []


NEW = [
    FIT.format(made=LEAVES, update="w = w - lr * w.grad" + CLEAR),
    FIT.format(made=LEAVES, update="with torch.no_grad(): w = w - lr * w.grad"),
    FIT.format(made=LEAVES, update="b = b + b.grad * -lr; w.grad = None"),
    FIT.format(
        made="w = torch.zeros(3).requires_grad_(); b = torch.zeros(1, requires_grad=True)",
        update="b = b - b.grad; w.grad = None",
    ),
    FIT.format(
        made="w = nn.Parameter(torch.zeros(3)); b = torch.zeros(1, requires_grad=True)",
        update="w = (w - lr * w.grad) * 0.99",
    ),
]


@pytest.mark.parametrize("text", NEW)
def test_an_update_that_makes_a_new_tensor_is_found(text: str) -> None:
    assert rules_in(text) == ["update-makes-new-tensor"]


NOT_NEW = [
    FIT.format(
        made=LEAVES, update="w = (w - lr * w.grad).detach().requires_grad_(); b.grad = None"
    ),
    FIT.format(
        made=LEAVES, update="w = w.detach() - lr * w.grad; w.requires_grad_(); b.grad = None"
    ),
    FIT.format(made=LEAVES, update="fast = w - lr * w.grad; print(fast)" + CLEAR),
    FIT.format(made=LEAVES, update="w = nn.Parameter(w - lr * w.grad); b.grad = None"),
    """\
    import torch

    def once(x, y):
        w = torch.zeros(3, requires_grad=True)
        ((x @ w - y) ** 2).mean().backward()
        w = w - 0.1 * w.grad
        return w
    """,
    """\
    import torch

    def maml(x, y, steps):
        w = torch.zeros(3, requires_grad=True)
        for _ in range(steps):
            (g,) = torch.autograd.grad(((x @ w - y) ** 2).mean(), w, create_graph=True)
            w = w - 0.1 * g
        return w
    """,
]


@pytest.mark.parametrize("text", NOT_NEW)
def test_updates_that_keep_a_leaf_are_none(text: str) -> None:
    assert "update-makes-new-tensor" not in rules_in(text)


BY_HAND = "with torch.no_grad(): w -= lr * w.grad; b -= lr * b.grad"
WITHOUT = [
    FIT.format(made="w = torch.zeros(3, requires_grad=True); b = torch.zeros(1)", update=BY_HAND),
    FIT.format(
        made=LEAVES.replace("True);", "True) * 0.01;"),
        update=BY_HAND,
    ),
    """\
    import torch

    image = torch.rand(3, 64, 64)
    optimizer = torch.optim.Adam([image], lr=0.01)
    """,
    """\
    import torch

    w, b = torch.zeros(3, requires_grad=True), torch.zeros(1)
    params = [w, b]
    optimizer = torch.optim.SGD(params, lr=0.01)
    """,
    """\
    import torch

    class Model:
        def __init__(self):
            self.w = torch.randn(3)
            self.b = torch.zeros(1, requires_grad=True)
            self.optimizer = torch.optim.SGD([self.w, self.b], lr=0.1)
    """,
    """\
    import torch

    w = torch.zeros(3)
    optimizer = torch.optim.SGD([{"params": [w], "lr": 0.1}])
    """,
]


@pytest.mark.parametrize("text", WITHOUT)
def test_a_tensor_without_gradients_is_found(text: str) -> None:
    assert rules_in(text) == ["requires-grad-forgotten"]


NOT_WITHOUT = [
    FIT.format(made=LEAVES, update=BY_HAND),
    FIT.format(
        made="w = torch.zeros(3); w.requires_grad_(); b = torch.zeros(1).requires_grad_(True)",
        update=BY_HAND,
    ),
    FIT.format(
        made="w, b = torch.zeros(3), torch.zeros(1); w.requires_grad = b.requires_grad = True",
        update=BY_HAND,
    ),
    """\
    import torch
    from torch import nn

    w = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([w], lr=0.01)
    """,
    """\
    import torch

    def es(loss, steps):
        w = torch.zeros(3)
        optimizer = torch.optim.SGD([w], lr=0.01)
        for _ in range(steps):
            noise = torch.randn(3)
            w.grad = noise * loss(w + noise)
            optimizer.step()
    """,
    """\
    import torch

    def invert(features, shape):
        image = torch.rand(shape)
        for tensor in (image,):
            tensor.requires_grad_()
        image = image.clone()
        return features(image)
    """,
]


@pytest.mark.parametrize("text", NOT_WITHOUT)
def test_tensors_with_gradients_are_none(text: str) -> None:
    assert "requires-grad-forgotten" not in rules_in(text)
