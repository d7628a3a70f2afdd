"""Back-propagation by hand against torch's and against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.nn import BACKPROP_RULES, backpropagate

EXACT = {"rtol": 1e-10, "atol": 1e-10}  # float64 sums in another order


def evaluated(layer: nn.Module) -> nn.Module:
    return layer.eval()


IMAGES = (3, 4, 6, 7)
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, 3), (4, 5)),
    "linear without bias": (lambda: nn.Linear(5, 3, bias=False), (4, 5)),
    "linear on sequences": (lambda: nn.Linear(5, 3), (4, 2, 5)),
    "conv": (lambda: nn.Conv2d(4, 6, 3), IMAGES),
    "conv with all options": (
        lambda: nn.Conv2d(4, 6, (3, 2), stride=2, padding=(2, 1), dilation=2, groups=2, bias=False),
        IMAGES,
    ),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4), IMAGES),
    "max pool": (lambda: nn.MaxPool2d(2), IMAGES),
    "overlapping max pool": (lambda: nn.MaxPool2d(3, 1, 1), IMAGES),
    "avg pool": (lambda: nn.AvgPool2d(2), IMAGES),
    "overlapping avg pool": (lambda: nn.AvgPool2d((3, 2), 2, padding=1), IMAGES),
    "global pool": (lambda: nn.AdaptiveAvgPool2d(1), IMAGES),
    "batch norm": (lambda: nn.BatchNorm2d(4), IMAGES),
    "batch norm without affine": (lambda: nn.BatchNorm2d(4, affine=False), IMAGES),
    "batch norm in use": (lambda: evaluated(nn.BatchNorm2d(4)), IMAGES),
    "batch norm of vectors": (lambda: nn.BatchNorm1d(5), (4, 5)),
    "layer norm": (lambda: nn.LayerNorm(5), (4, 2, 5)),
    "layer norm of images": (lambda: nn.LayerNorm((6, 7)), IMAGES),
    "layer norm without affine": (lambda: nn.LayerNorm(5, elementwise_affine=False), (4, 5)),
    "softmax": (lambda: nn.Softmax(dim=1), (4, 5)),
    "flatten": (lambda: nn.Flatten(), IMAGES),
    "identity": (lambda: nn.Identity(), (4, 5)),
    "dropout": (lambda: nn.Dropout(0.4), (4, 5)),
    "relu": (lambda: nn.ReLU(), (4, 5)),
    "leaky relu": (lambda: nn.LeakyReLU(0.2), (4, 5)),
    "sigmoid": (lambda: nn.Sigmoid(), (4, 5)),
    "tanh": (lambda: nn.Tanh(), (4, 5)),
    "gelu": (lambda: nn.GELU(), (4, 5)),
    "silu": (lambda: nn.SiLU(), (4, 5)),
    "softplus": (lambda: nn.Softplus(beta=2), (4, 5)),
}


def built(name: str) -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(7)
    make, shape = CASES[name]
    model = nn.Sequential(make()).double()
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    return model, torch.randn(shape, dtype=torch.float64)


def test_every_rule_has_a_case() -> None:
    covered = {type(CASES[name][0]()) for name in CASES} | {nn.Embedding}
    assert covered == set(BACKPROP_RULES)


@pytest.mark.parametrize("name", CASES)
def test_intro_40_gradients_of_every_layer_equal_autograd(name: str) -> None:
    model, x = built(name)
    x.requires_grad_()
    torch.manual_seed(3)
    y = model(x)
    weights = torch.randn_like(y)
    names = [key for key, _ in model.named_parameters()]
    expected = torch.autograd.grad((y * weights).sum(), [x, *model.parameters()])
    torch.manual_seed(3)
    by_input, grads = backpropagate(model, x, lambda _: weights)
    assert by_input is not None
    torch.testing.assert_close(by_input, expected[0], **EXACT)
    assert list(grads) == names
    for key, value in zip(names, expected[1:], strict=True):
        torch.testing.assert_close(grads[key], value, **EXACT)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"dropout"}))
def test_intro_40_gradients_pass_gradcheck(name: str) -> None:
    """Against finite differences, which know nothing of autograd."""
    model, x = built(name)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 0.0  # so that a pass does not change the next one

    class ByHand(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            with torch.no_grad():
                return model(x)  # type: ignore[no-any-return]

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return backpropagate(model, ctx.saved_tensors[0], lambda _: grads[0])[0]

    assert torch.autograd.gradcheck(ByHand.apply, (x.requires_grad_(),))


def test_intro_40_a_whole_network_equals_autograd() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Linear(36, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
    ).double()
    x, labels = torch.randn(5, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0])
    one_hot = nn.functional.one_hot(labels, 3)
    _, grads = backpropagate(model, x, lambda logits: (logits.softmax(1) - one_hot) / 5)
    nn.functional.cross_entropy(model(x), labels).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(grads[name], parameter.grad, **EXACT)


@pytest.mark.parametrize("padding", [None, 2])
def test_intro_40_rows_of_an_embedding_get_the_sum_of_their_places(padding: int | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(6, 3, padding_idx=padding), nn.Linear(3, 2)).double()
    tokens = torch.tensor([[0, 2, 2], [5, 0, 2]])
    by_input, grads = backpropagate(model, tokens, torch.ones_like)
    assert by_input is None
    model(tokens).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(grads[name], parameter.grad, **EXACT)


def test_a_layer_without_a_rule_is_named() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Hardswish()))
    with pytest.raises(UsageError, match=r"got Hardswish at 0\.1"):
        backpropagate(model, torch.zeros(1, 2), torch.ones_like)


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        (nn.Conv2d(1, 1, 3, padding="same"), "`padding` of a convolution must be a number"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), "padding_mode='circular'"),
        (nn.AvgPool2d(2, ceil_mode=True), "default way of counting"),
        (nn.AdaptiveAvgPool2d(2), "must pool to one place"),
        (nn.GELU(approximate="tanh"), "must be the exact one"),
    ],
)
def test_options_without_a_rule_are_refused(layer: nn.Module, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        backpropagate(nn.Sequential(layer), torch.rand(1, 1, 4, 4), torch.ones_like)


def test_indices_come_first() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Embedding(4, 2))
    with pytest.raises(UsageError, match="must have layers that take indices first"):
        backpropagate(model, torch.zeros(1, 3, dtype=torch.int64), torch.ones_like)
