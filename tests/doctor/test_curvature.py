"""Products of the curvature: equal to matrices written out, and nothing else is touched."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from fitwell.core.errors import TrainingError, UsageError
from fitwell.data import Batches, Examples, Schema
from fitwell.doctor import (
    Curvature,
    critical_point,
    estimate_trace,
    interpolation,
    loss_line,
    loss_plane,
    trajectory_plane,
)

EXACT = {"rtol": 1e-9, "atol": 1e-12}  # float64 sums in another order
CROSS_ENTROPY = nn.CrossEntropyLoss()


class Last(nn.Module):
    """Answer with the last step of a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(2, 3, batch_first=True)
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Softplus(), nn.Flatten(), nn.Linear(8, 3))
    )


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, 4, dropout=0.0, batch_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(12, 3))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (4,)),
    "cnn": (cnn, (1, 4, 4)),
    "lstm": (Last, (4, 2)),
    "transformer": (transformer, (3, 4)),
}


def problem(name: str, examples: int = 9) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    make, shape = NETS[name]
    model = make().double()
    x = torch.randn(examples, *shape, dtype=torch.float64)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return model, x, torch.randint(3, (examples,))


def as_function(model: nn.Module, value: Callable[[], Tensor]) -> Callable[[Tensor], Tensor]:
    """Give a value as a function of the flat weights, by putting them into the model."""
    names, weights = zip(*model.named_parameters(), strict=True)

    def function(flat: Tensor) -> Tensor:
        parts = flat.split([w.numel() for w in weights])
        given = {n: p.view(w.shape) for n, p, w in zip(names, parts, weights, strict=True)}

        class Call(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self) -> Tensor:
                return value()

        return functional_call(Call(), {f"model.{n}": p for n, p in given.items()}, ())

    return function


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def exact_hessian(model: nn.Module, value: Callable[[], Tensor]) -> Tensor:
    function = as_function(model, value)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return torch.autograd.functional.hessian(function, flat(model))  # type: ignore[no-any-return]


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", list(NETS))
def test_tune_19_gradient_and_hessian_equal_those_written_out(name: str, mode: Any) -> None:
    model, x, y = problem(name)
    found = Curvature(model, CROSS_ENTROPY, (x, y), mode=mode)
    model.train(mode == "train")

    def value() -> Tensor:
        return CROSS_ENTROPY(model(x), y)

    loss = value()
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    assert found.loss == pytest.approx(loss.item(), rel=1e-12)
    torch.testing.assert_close(found.gradient, gradient, **EXACT)
    torch.testing.assert_close(found.matrix(), exact_hessian(model, value), **EXACT)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # within torch itself
def test_tune_19_equal_to_torch_func_hessian() -> None:
    model, x, y = problem("mlp")
    function = as_function(model, lambda: CROSS_ENTROPY(model(x), y))
    expected = torch.func.hessian(function)(flat(model))
    torch.testing.assert_close(Curvature(model, CROSS_ENTROPY, (x, y)).matrix(), expected, **EXACT)


def test_tune_19_the_remainder_of_second_order_shrinks_as_the_cube_of_the_step() -> None:
    model, x, y = problem("mlp")
    found = Curvature(model, CROSS_ENTROPY, (x, y))
    step = torch.randn(found.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    remainders = []
    for length in (0.04, 0.02, 0.01):
        move = length * step
        predicted = found.loss + found.gradient @ move + move @ found.product(move) / 2
        (measured,) = found.over.values([found.named(flat(model) + move)])
        remainders.append(measured - predicted.item())
    ratios = [a / b for a, b in itertools.pairwise(remainders)]
    assert ratios == pytest.approx([8, 8], rel=0.15)


@pytest.mark.parametrize("kind", ["hessian", "gauss_newton", "empirical_fisher"])
def test_uneven_batches_and_dropped_graphs_give_the_same_matrix(kind: Any) -> None:
    model, x, y = problem("cnn")
    whole = Curvature(model, CROSS_ENTROPY, (x, y), kind=kind)
    parts = [(x[:4], y[:4]), (x[4:], y[4:])]
    for keep in (True, False):
        split = Curvature(model, CROSS_ENTROPY, parts, kind=kind, keep_graphs=keep)
        assert split.loss == pytest.approx(whole.loss, rel=1e-12)
        torch.testing.assert_close(split.gradient, whole.gradient, **EXACT)
        vector = torch.randn(whole.size, dtype=torch.float64)
        torch.testing.assert_close(split.product(vector), whole.product(vector), **EXACT)


def slopes_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    losses = [CROSS_ENTROPY(model(x[n : n + 1]), y[n : n + 1]) for n in range(len(x))]
    rows = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


def test_gauss_newton_is_the_fisher_matrix_summed_over_labels() -> None:
    model, x, y = problem("mlp")
    expected = torch.zeros(len(flat(model)), len(flat(model)), dtype=torch.float64)
    for n in range(len(x)):
        probs = model(x[n : n + 1]).softmax(1)[0].detach()
        for label, prob in enumerate(probs):
            row = slopes_of(model, x[n : n + 1], torch.tensor([label]))
            expected += prob * row.T @ row / len(x)
    found = Curvature(model, CROSS_ENTROPY, (x, y), kind="gauss_newton")
    torch.testing.assert_close(found.matrix(), expected, **EXACT)


def test_empirical_fisher_is_the_mean_over_examples() -> None:
    model, x, y = problem("lstm")
    rows = slopes_of(model, x, y)
    found = Curvature(model, CROSS_ENTROPY, (x, y), kind="empirical_fisher")
    torch.testing.assert_close(found.matrix(), rows.T @ rows / len(x), **EXACT)


def test_gauss_newton_is_the_hessian_of_a_model_that_is_linear_in_its_weights() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 2).double()
    x, y = torch.randn(7, 4).double(), torch.randn(7, 2).double()
    matrices = [
        Curvature(model, nn.MSELoss(), (x, y), kind=kind).matrix()
        for kind in ("hessian", "gauss_newton")  # type: ignore[attr-defined]
    ]
    torch.testing.assert_close(*matrices, **EXACT)


def test_a_linear_loss_has_no_curvature() -> None:
    model = nn.Linear(3, 1)
    for kind in ("hessian", "gauss_newton"):
        found = Curvature(
            model, lambda o, t: o.mean(), (torch.randn(5, 3), torch.zeros(5)), kind=kind
        )  # type: ignore[arg-type]
        assert not found.matrix().any()
    assert found.gradient[-1] == 1


def test_frozen_parameters_stay_out() -> None:
    model, x, y = problem("mlp")
    for p in model[0].parameters():  # type: ignore[index]
        p.requires_grad_(False)
    found = Curvature(model, CROSS_ENTROPY, (x, y))
    assert list(found.named(found.gradient)) == ["2.weight", "2.bias"]
    for p in model.parameters():
        p.requires_grad_(True)
    whole = Curvature(model, CROSS_ENTROPY, (x, y)).matrix()
    torch.testing.assert_close(found.matrix(), whole[-found.size :, -found.size :], **EXACT)


def test_vectors_go_to_named_tensors_and_back() -> None:
    model, x, y = problem("cnn")
    found = Curvature(model, CROSS_ENTROPY, (x, y))
    named = found.named(found.gradient)
    assert {n: t.shape for n, t in named.items()} == {
        n: p.shape for n, p in model.named_parameters()
    }
    assert torch.equal(found.flat(named), found.gradient)


def test_later_steps_do_not_change_what_was_made() -> None:
    model, x, y = problem("mlp")
    found = Curvature(model, CROSS_ENTROPY, (x, y))
    before = found.matrix()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    assert torch.equal(found.matrix(), before)


def noisy() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(), nn.Linear(8, 3)
    )


@pytest.mark.parametrize("keep", [True, False])
def test_dropout_has_one_noise(keep: bool) -> None:
    torch.manual_seed(0)
    model, x, y = noisy().double(), torch.randn(9, 4).double(), torch.randint(3, (9,))
    parts = [(x[:5], y[:5]), (x[5:], y[5:])]
    found = Curvature(model, CROSS_ENTROPY, parts, mode="train", keep_graphs=keep, seed=3)
    matrix = torch.stack([found.product(row) for row in torch.eye(found.size).double()])
    torch.testing.assert_close(matrix, matrix.T, **EXACT)
    other = Curvature(model, CROSS_ENTROPY, parts, mode="train", seed=4)
    assert found.loss != other.loss


Probe = Callable[[nn.Module, Any, Any], object]
OTHERS = [noisy().state_dict() for _ in range(3)]
PROBES: dict[str, Probe] = {
    "product": lambda m, b, mode: Curvature(m, CROSS_ENTROPY, b, mode=mode).matrix(),
    "fisher": lambda m, b, mode: estimate_trace(
        Curvature(m, CROSS_ENTROPY, b, mode=mode, kind="empirical_fisher", keep_graphs=False),
        products=8,
    ),
    "critical": lambda m, b, mode: critical_point(
        m, CROSS_ENTROPY, b, mode=mode, exact_up_to=0, max_products=40
    ),
    "line": lambda m, b, mode: loss_line(m, CROSS_ENTROPY, b, mode=mode, points=3),
    "plane": lambda m, b, mode: loss_plane(m, CROSS_ENTROPY, b, mode=mode, points=3),
    "between": lambda m, b, mode: interpolation(
        m, CROSS_ENTROPY, b, OTHERS[0], m.state_dict(), mode=mode, points=3
    ),
    "path": lambda m, b, mode: trajectory_plane(m, CROSS_ENTROPY, b, OTHERS, mode=mode, points=3),
}


def everything(model: nn.Module, batches: Batches) -> list[Any]:
    """Give all that must stay: values, gradients, modes, generators, the place in the data."""
    tensors = [t.clone() for t in model.state_dict().values()]
    tensors += [p.grad.clone() for p in model.parameters() if p.grad is not None]
    modes = [part.training for part in model.modules()]
    identities = [id(t) for t in (*model.parameters(), *model.buffers())]
    name, keys, *rest = np.random.get_state()
    position = repr(batches.state_dict())
    generators = [torch.get_rng_state(), random.getstate(), name, keys.tolist(), rest]
    return [*tensors, modes, identities, position, *generators]


def equal(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", list(PROBES))
def test_all_is_left_as_it_was_bit_for_bit(name: str, mode: str) -> None:
    torch.manual_seed(0)
    model = noisy()
    model[1].eval()  # modes may differ from part to part
    schema = Schema(
        kind="table", input_shape=(4,), target_kind="class", class_names=("a", "b", "c")
    )
    examples = Examples(inputs=torch.randn(10, 4), targets=torch.randint(3, (10,)), schema=schema)
    batches = Batches(examples, batch_size=4, shuffle=True, seed=0)
    next(iter(batches))
    CROSS_ENTROPY(model(examples.inputs), examples.targets).backward()
    before = everything(model, batches)
    PROBES[name](model, batches, mode)
    after = everything(model, batches)
    pairs = enumerate(zip(before, after, strict=True))
    assert [place for place, pair in pairs if not equal(*pair)] == []


def test_an_error_leaves_all_as_it_was() -> None:
    torch.manual_seed(0)
    model = noisy()
    state = torch.get_rng_state()
    batch = (torch.full((4, 4), torch.nan), torch.zeros(4, dtype=torch.long))
    with pytest.raises(TrainingError, match="the loss of batch 0 is nan"):
        Curvature(model, CROSS_ENTROPY, batch, mode="eval")
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


class Once(torch.autograd.Function):
    """A square whose gradient cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * slope


def test_a_model_without_second_gradients_is_refused() -> None:
    class Model(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return Once.apply(super().forward(x))  # type: ignore[no-any-return,no-untyped-call]

    with pytest.raises(UsageError, match="`model` must be differentiable twice"):
        Curvature(Model(2, 1), nn.MSELoss(), (torch.ones(3, 2), torch.ones(3, 1)))


X, Y = torch.ones(3, 4), torch.zeros(3, dtype=torch.long)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "jacobian"}, "`kind` must be one of"),
        ({"mode": "test"}, "`mode` must be 'eval' or 'train'"),
        ({"batches": []}, "`batches` must give at least one; got none"),
        ({"batches": [X]}, "must give pairs"),
        ({"batches": [{"x": X, "y": Y}]}, "must give pairs .* got a dict"),
        (
            {"loss": nn.CrossEntropyLoss(reduction="none")},
            r"got shape \(3,\). Use reduction='mean'",
        ),
        ({"loss": lambda o, t: torch.ones(())}, "must depend on the weights"),
        ({"model": nn.Identity()}, "must have a trainable parameter"),
    ],
)
def test_wrong_arguments_are_refused(change: dict[str, Any], message: str) -> None:
    arguments = {"model": mlp(), "loss": CROSS_ENTROPY, "batches": [(X, Y)], **change}
    with pytest.raises(UsageError, match=message):
        Curvature(**arguments)


def test_wrong_vectors_and_outputs_are_refused() -> None:
    found = Curvature(mlp(), CROSS_ENTROPY, (X, Y))
    with pytest.raises(UsageError, match=r"`vector` must have shape \(43,\); got \(3,\)"):
        found.product(torch.ones(3))
    tuples = nn.LSTM(4, 3, batch_first=True)
    with pytest.raises(UsageError, match=r"outputs must be one tensor .* got a tuple"):
        Curvature(tuples, lambda o, t: o[0].mean(), (torch.ones(3, 2, 4), Y), kind="gauss_newton")
    joined = nn.Sequential(nn.Linear(4, 3), nn.Flatten(0))
    mean = Curvature(joined, lambda o, t: o.square().mean(), (X, Y), kind="empirical_fisher")
    with pytest.raises(UsageError, match=r"must have the 3 examples first .* got shape \(9,\)"):
        mean.product(mean.gradient)
