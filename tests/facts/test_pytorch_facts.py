"""Truths about PyTorch that the course states, one test per catalogue row."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.metrics import Classification
from fitwell.nn import check_cat, shares_memory

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
EXACT = {"rtol": 1e-9, "atol": 1e-12}
OPS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "add": (torch.add, np.add),
    "sub": (torch.sub, np.subtract),
    "mul": (torch.mul, np.multiply),
    "div": (torch.div, np.divide),
    "pow2": (lambda a, b: a.pow(2) + b, lambda a, b: a**2 + b),
    "maximum": (torch.maximum, np.maximum),
    "sum": (lambda a, b: a.sum() + b, lambda a, b: a.sum() + b),
    "mean0": (lambda a, b: a.mean(0) * b.mean(0), lambda a, b: a.mean(0) * b.mean(0)),
    "norm": (lambda a, b: (a - b).norm(), lambda a, b: np.linalg.norm(a - b)),
    "exp": (lambda a, b: (a * b).exp(), lambda a, b: np.exp(a * b)),
    "std": (lambda a, b: (a + b).std(correction=0), lambda a, b: np.std(a + b)),
}
CREATORS: dict[str, tuple[Callable[..., Tensor], Callable[..., Any]]] = {
    "zeros": (torch.zeros, np.zeros),
    "ones": (torch.ones, np.ones),
    "full": (lambda s: torch.full(s, 2.5), lambda s: np.full(s, 2.5)),
    "arange": (lambda s: torch.arange(s[0]), lambda s: np.arange(s[0])),
    "eye": (lambda s: torch.eye(s[0]), lambda s: np.eye(s[0])),
    "linspace": (lambda s: torch.linspace(0, 1, s[0]), lambda s: np.linspace(0, 1, s[0])),
    "tensor": (lambda s: torch.tensor([[1, -1], [-1, 1]]), lambda s: [[1, -1], [-1, 1]]),
}
DTYPES = [
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.complex64, torch.complex128),
]


@settings(deadline=None, max_examples=80)
@given(op=st.sampled_from(sorted(OPS)), shape=SHAPES, seed=st.integers(0, 10**6))
def test_pt_09_arithmetic_equals_numpy(op: str, shape: tuple[int, ...], seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=shape), generator.normal(size=shape)
    ours, theirs = OPS[op]
    result = ours(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(result.numpy(), theirs(a, b), rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(name=st.sampled_from(sorted(CREATORS)), shape=SHAPES)
def test_pt_09_creation_equals_numpy(name: str, shape: tuple[int, ...]) -> None:
    ours, theirs = CREATORS[name]
    result, expected = ours(shape), np.asarray(theirs(shape))
    assert tuple(result.shape) == result.size() == expected.shape
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-6)


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, data=st.data())
def test_pt_10_shapes_strides_values_and_view_or_copy(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    count = int(np.prod(shape))
    x = torch.arange(count, dtype=torch.float64).view(shape)
    array = x.numpy()
    one, other = (data.draw(st.integers(0, len(shape) - 1)) for _ in range(2))
    place = data.draw(st.integers(0, len(shape)))
    moved = x.transpose(one, other)
    cases = [
        (moved, np.swapaxes(array, one, other)),
        (x.unsqueeze(place), np.expand_dims(array, place)),
        (x.squeeze(), np.squeeze(array)),
        (x.reshape(count), array.reshape(count)),
        (moved.reshape(count), np.swapaxes(array, one, other).reshape(count)),
        (moved.flip(0), np.flip(np.swapaxes(array, one, other), 0)),
    ]
    for ours, theirs in cases:
        assert tuple(ours.shape) == theirs.shape
        np.testing.assert_array_equal(ours.numpy(), theirs)
    # Strides are numbers of elements here and bytes in numpy; axes of length 1 have no say.
    for ours, theirs in cases[:2]:
        strides = [s // 8 for s, n in zip(theirs.strides, theirs.shape, strict=True) if n > 1]
        assert strides == [s for s, n in zip(ours.stride(), ours.shape, strict=True) if n > 1]
    for result, source in [(c[0], x) for c in cases]:
        told = shares_memory(result, source)
        before = source.clone()
        result.add_(1)
        assert told == (not torch.equal(source, before))
        source.copy_(before)


def test_pt_10_reshape_copies_only_when_it_must() -> None:
    x = torch.arange(6.0).view(2, 3)
    assert shares_memory(x.reshape(6), x)
    assert not shares_memory(x.T.reshape(6), x)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        x.T.view(6)


@settings(deadline=None, max_examples=60)
@given(
    shapes=st.lists(st.lists(st.integers(1, 3), min_size=2, max_size=3), min_size=2, max_size=3),
    dim=st.integers(-2, 1),
)
def test_pt_11_cat_equals_numpy_and_mismatch_names_both_shapes(
    shapes: list[list[int]], dim: int
) -> None:
    tensors = [torch.rand(shape) for shape in shapes]
    try:
        joined = torch.cat(tensors, dim)
    except (RuntimeError, IndexError):
        with pytest.raises(UsageError, match="check_cat: `tensors` must") as caught:
            check_cat(tensors, dim)
        message = str(caught.value)
        named = [shape for shape in shapes if str(tuple(shape)) in message]
        assert len({tuple(shape) for shape in named}) >= 2
        return
    check_cat(tensors, dim)
    np.testing.assert_array_equal(joined.numpy(), np.concatenate([t.numpy() for t in tensors], dim))


def test_pt_11_mismatch_names_the_dimension() -> None:
    message = r"every axis but 0; got \(2, 1, 3\) \(tensor 0\) and \(2, 2, 3\) .* differ in axis 1"
    with pytest.raises(UsageError, match=message):
        check_cat([torch.zeros(2, 1, 3), torch.zeros(2, 2, 3)], dim=0)
    check_cat([torch.zeros(2, 1, 3), torch.zeros(2, 2, 3)], dim=1)


def category(dtype: torch.dtype) -> int:
    if dtype == torch.bool:
        return 0
    return 3 if dtype.is_complex else 2 if dtype.is_floating_point else 1


@pytest.mark.parametrize(("one", "other"), list(itertools.product(DTYPES, DTYPES)))
def test_pt_12_promotion_table(one: torch.dtype, other: torch.dtype) -> None:
    a, b = torch.ones(2, dtype=one), torch.ones(2, dtype=other)
    stated = torch.result_type(a, b)
    assert (a * b).dtype == stated == torch.promote_types(one, other)
    assert (a * b).dtype == (b * a).dtype
    # The table in words: the higher kind wins, and within a kind the result holds both.
    assert category(stated) == max(category(one), category(other))
    if category(one) > category(other) and not stated.is_complex:
        assert stated == one
    # A tensor without axes does not widen one with axes of the same or a higher kind.
    if category(one) >= category(other):
        assert torch.result_type(a, b[0]) == one


def test_pt_12_mixed_dtypes_raise_in_a_layer_and_in_a_product() -> None:
    x = torch.ones(2, 3, dtype=torch.float64)
    assert (x.dtype, x.shape) == (torch.float64, (2, 3))
    with pytest.raises(RuntimeError, match=r"must have the same dtype|expected m1 and m2"):
        nn.Linear(3, 1)(x)
    with pytest.raises(RuntimeError, match="same dtype"):
        x @ torch.ones(3, 1)


def test_pt_13_backward_of_the_sum_of_squares_gives_twice_the_input() -> None:
    # The numbers of the slide.
    x = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], requires_grad=True)
    z = x.pow(2).sum()
    z.backward()
    assert z.item() == 3
    assert x.grad is not None
    assert x.grad.tolist() == [[2, 0], [-2, 2]]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    moved = x.detach().to(device)
    assert moved.device.type == device.type
    assert torch.equal(moved.cpu(), x.detach())


def test_pt_14_activations_equal_their_formulas_in_value_and_gradient() -> None:
    x = torch.linspace(-40, 40, 801, dtype=torch.float64).requires_grad_()
    sigmoid = nn.Sigmoid()(x)
    (slope,) = torch.autograd.grad(sigmoid.sum(), x)
    torch.testing.assert_close(sigmoid, 1 / (1 + torch.exp(-x)), **EXACT)
    torch.testing.assert_close(slope, sigmoid * (1 - sigmoid), **EXACT)
    relu = nn.ReLU()(x)
    (slope,) = torch.autograd.grad(relu.sum(), x)
    assert torch.equal(relu, torch.where(x > 0, x, 0.0))
    # At 0 PyTorch takes the slope 0.
    assert torch.equal(slope, (x > 0).double())


class _LayerByLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(10, 32)
        self.act = nn.Sigmoid()
        self.second = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.second(self.act(self.first(x)))
        return result


def test_pt_15_both_ways_to_build_a_module_are_equal() -> None:
    torch.manual_seed(0)
    chain = nn.Sequential(nn.Linear(10, 32), nn.Sigmoid(), nn.Linear(32, 1))
    layers = _LayerByLayer()
    for target, source in zip(layers.parameters(), chain.parameters(), strict=True):
        target.data.copy_(source.data)
    x = torch.randn(4, 10)
    assert torch.equal(chain(x), layers(x))
    chain(x).sum().backward()
    layers(x).sum().backward()
    for one, other in zip(layers.parameters(), chain.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]


def test_pt_15_a_trailing_comma_makes_a_layer_a_tuple() -> None:
    class Slip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = (nn.Linear(10, 32),)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.layer(x)  # type: ignore[operator]
            return result

    assert list(Slip().parameters()) == []
    with pytest.raises(TypeError, match="'tuple' object is not callable"):
        Slip()(torch.zeros(1, 10))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_pt_16_module_and_function_agree_in_every_reduction(reduction: str) -> None:
    torch.manual_seed(0)
    outputs, numbers = torch.randn(2, 6, 4, dtype=torch.float64).unbind()
    labels = torch.randint(0, 4, (6,))
    one = nn.MSELoss(reduction=reduction)(outputs, numbers)
    assert torch.equal(one, nn.functional.mse_loss(outputs, numbers, reduction=reduction))
    two = nn.CrossEntropyLoss(reduction=reduction)(outputs, labels)
    assert torch.equal(two, nn.functional.cross_entropy(outputs, labels, reduction=reduction))
    squares = (outputs - numbers).square()
    logs = -outputs.log_softmax(1)[torch.arange(6), labels]
    for value, parts in ((one, squares), (two, logs)):
        expected = {"mean": parts.mean(), "sum": parts.sum(), "none": parts}[reduction]
        torch.testing.assert_close(value, expected, **EXACT)
    if reduction == "mean":
        # The order matters: (outputs, labels), not the other way round.
        with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
            nn.CrossEntropyLoss()(labels, outputs)


@settings(deadline=None, max_examples=30)
@given(count=st.integers(3, 40), batch_size=st.integers(2, 9), seed=st.integers(0, 10**6))
def test_pt_19_validation_loss_weighted_by_batch_length_is_the_full_one(
    count: int, batch_size: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, dtype=torch.float64, generator=generator)
    y = torch.randint(0, 3, (count,), generator=generator)
    criterion = nn.CrossEntropyLoss()
    full = criterion(x, y).item()
    model = nn.Identity().eval()
    total, metric = 0.0, Classification(3)
    with torch.no_grad():
        for inputs, targets in zip(x.split(batch_size), y.split(batch_size), strict=True):
            outputs = model(inputs)
            total += criterion(outputs, targets).item() * len(inputs)
            metric.update(outputs, targets)
    assert total / count == pytest.approx(full, rel=1e-12)
    assert metric.compute()["loss"] == pytest.approx(full, rel=1e-12)


def test_pt_19_the_mean_of_batch_means_is_not() -> None:
    losses = torch.tensor([1.0, 1.0, 1.0, 1.0, 6.0])
    naive = torch.stack([part.mean() for part in losses.split(4)]).mean()
    assert (naive.item(), losses.mean().item()) == (3.5, 2.0)


@pytest.mark.parametrize("evaluating", [True, False])
@pytest.mark.parametrize("without_grad", [True, False])
def test_pt_21_eval_changes_layers_and_no_grad_changes_recording(
    evaluating: bool, without_grad: bool
) -> None:
    torch.manual_seed(0)
    dropout, norm = nn.Dropout(0.5), nn.BatchNorm1d(4)
    model = nn.Sequential(norm, nn.Linear(4, 64), dropout).train(not evaluating)
    x = torch.randn(16, 4)
    running = norm.running_mean.clone()  # type: ignore[union-attr]
    with torch.set_grad_enabled(not without_grad):
        first, second = model(x), model(x)
    # Only eval() decides on dropout and running statistics ...
    assert torch.equal(first, second) == evaluating
    assert bool((first == 0).any()) != evaluating
    assert torch.equal(norm.running_mean, running) == evaluating  # type: ignore[arg-type]
    # ... and only no_grad() on the graph.
    assert first.requires_grad != without_grad
    assert (first.grad_fn is None) == without_grad


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_pt_02_losses_on_a_gpu_are_those_on_the_cpu() -> None:
    losses = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        x, y = torch.rand(16, 1, 8, 8), torch.arange(16) % 3
        model, x, y = model.to(device), x.to(device), y.to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        losses[device] = []
        for _ in range(5):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[device].append(loss.item())
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-5)
