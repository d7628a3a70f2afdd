"""Objectives around another one: penalties against scikit-learn, distillation as written."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, Ridge
from torch import Tensor, nn

from fitwell.core.errors import UnknownName, UsageError
from fitwell.losses import MSE, CrossEntropy
from fitwell.optim import SGD
from fitwell.train import (
    Distillation,
    Objective,
    Penalized,
    Supervised,
    Trainer,
    distill,
    evaluate,
    penalize,
)

from .problems import batches, network, objective, same_weights, weights_of

ROWS, COLUMNS = 60, 6
REACHED = 1e-6  # of the solutions of scikit-learn, as the claim says
NEAR_ZERO = 1e-2  # above the last rate times the strengths, below the weights that count


class Flat(nn.Module):
    """A linear model of numbers in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(COLUMNS, 1, dtype=torch.float64)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.line.bias)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.line(x).squeeze(1)
        return found


def problem() -> tuple[Tensor, Tensor]:
    """Rows whose answers depend on half of the columns."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, COLUMNS, dtype=torch.float64, generator=generator)
    truth = torch.tensor([2.0, 0.0, -1.0, 0.0, 0.5, 0.0], dtype=torch.float64)
    return x, x @ truth + 1 + 0.3 * torch.randn(ROWS, dtype=torch.float64, generator=generator)


def descend(model: Flat, penalized: Objective, steps: int, decay: float = 0.0) -> None:
    """Full-batch gradient descent by the trainer, with rates that fall by a constant factor."""
    trainer = Trainer(
        model,
        penalized,
        torch.optim.SGD(model.parameters(), lr=0.4),
        schedule=lambda step, _: math.exp(-decay * step),
    )
    trainer.fit([problem()], max_steps=steps)


# Penalties ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("l2", [0.02, 0.5])
def test_tune_11_training_with_l2_reaches_the_ridge_of_scikit_learn(l2: float) -> None:
    x, y = problem()
    model = Flat()
    descend(model, Penalized(Supervised(MSE()), l2=l2), 60)
    theirs = Ridge(alpha=ROWS * l2 / 2, tol=1e-12).fit(x.numpy(), y.numpy())
    found = model.line.weight.detach().numpy()[0]
    np.testing.assert_allclose(found, theirs.coef_, atol=REACHED, rtol=0)
    assert model.line.bias.item() == pytest.approx(theirs.intercept_, abs=REACHED)


@pytest.mark.parametrize("l1", [0.1, 0.6])
def test_tune_11_training_with_l1_reaches_the_lasso_of_scikit_learn(l1: float) -> None:
    x, y = problem()
    penalized = Penalized(Supervised(MSE()), l1=l1)
    theirs = Lasso(alpha=l1 / 2, tol=1e-14, max_iter=100_000).fit(x.numpy(), y.numpy())
    assert 0 < np.count_nonzero(theirs.coef_) < COLUMNS
    model = Flat()
    descend(model, penalized, 300, decay=0.02)
    found = model.line.weight.detach().numpy()[0].copy()
    np.testing.assert_allclose(found, theirs.coef_, atol=2e-3, rtol=0)
    # Steps jump over 0 and never land on it; with the small weights held there, they converge.
    kept = torch.from_numpy(np.abs(found) > NEAR_ZERO)
    np.testing.assert_array_equal(kept, theirs.coef_ != 0)
    with torch.no_grad():
        model.line.weight.mul_(kept)
    model.line.weight.register_hook(lambda gradient: gradient * kept)
    descend(model, penalized, 60)
    found = model.line.weight.detach().numpy()[0].copy()
    np.testing.assert_allclose(found, theirs.coef_, atol=REACHED, rtol=0)
    # Nothing nearby is better: the loss at their solution is least, by its optimality conditions.
    best = Flat()
    with torch.no_grad():
        best.line.weight.copy_(torch.from_numpy(theirs.coef_))
        best.line.bias.fill_(float(theirs.intercept_))
    (gradient,) = torch.autograd.grad(Supervised(MSE())(best, (x, y))[0], best.line.weight)
    slope = gradient[0].numpy()
    active = theirs.coef_ != 0
    np.testing.assert_allclose(slope[active], -l1 * np.sign(theirs.coef_[active]), atol=REACHED)
    assert np.all(np.abs(slope[~active]) < l1)
    assert np.all(np.abs(slope[~active]) > 0)


def test_penalty_is_its_formula_and_is_logged() -> None:
    model = network()
    batch = next(iter(batches()))
    loss, logged = Penalized(objective(), l1=0.01, l2=0.1)(model, batch)
    weights = [p for p in model.parameters() if p.ndim > 1]
    expected = sum(0.01 * w.abs().sum() + 0.05 * w.square().sum() for w in weights)
    torch.testing.assert_close(logged["penalty"], expected.detach())  # type: ignore[union-attr]
    torch.testing.assert_close(loss, objective()(model, batch)[0] + expected)
    assert not logged["penalty"].requires_grad
    everything = Penalized(objective(), l2=2.0, vectors=True).penalty(model)
    assert everything is not None
    torch.testing.assert_close(everything, sum(p.square().sum() for p in model.parameters()))


def test_penalty_counts_tied_weights_once_and_frozen_ones_never() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[2].requires_grad_(False)
    penalty = Penalized(objective(), l2=2.0).penalty(model)
    torch.testing.assert_close(penalty, model[0].weight.square().sum())


def test_penalty_with_plain_descent_is_weight_decay() -> None:
    one, other = network().double(), network().double()
    batch = next(iter(batches()))
    pair = (batch[0].double(), batch[1])
    weights = [p for p in other.parameters() if p.ndim > 1]
    vectors = [p for p in other.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": 0.3}, {"params": vectors}]
    for model, what, optimizer in (
        (one, Penalized(objective(), l2=0.3), torch.optim.SGD(one.parameters(), lr=0.1)),
        (other, objective(), torch.optim.SGD(groups, lr=0.1)),
    ):
        what(model, pair)[0].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-14)


def test_nothing_is_added_at_zero() -> None:
    model, batch = network(), next(iter(batches()))
    loss, logged = Penalized(objective())(model, batch)
    assert (loss.item(), dict(logged)) == (objective()(model, batch)[0].item(), {})
    assert Penalized(objective()).penalty(model) is None


# Distillation ------------------------------------------------------------------------------------


def test_distillation_equals_its_formula() -> None:
    student, teacher, batch = network(1), network(2), next(iter(batches()))
    loss, logged = Distillation(objective(), teacher, temperature=3.0, share=0.7)(student, batch)
    inner = objective()(student, batch)[0]
    total = 0.0
    p = softmax(teacher.eval()(batch[0]) / 3)
    q = softmax(student(batch[0]) / 3)
    total = (p * (np.log(p) - np.log(q))).sum(1).mean() * 9
    assert loss.item() == pytest.approx(0.3 * inner.item() + 0.7 * total, rel=1e-5)
    assert logged["distillation"].item() == pytest.approx(total, rel=1e-4)


def softmax(logits: Tensor) -> Any:
    found = np.exp(logits.detach().double().numpy())
    return found / found.sum(1, keepdims=True)


def test_distillation_asks_the_model_once_and_leaves_the_teacher_alone() -> None:
    student, teacher = network(1, dropout=0.5), network(2, dropout=0.5)
    before = weights_of(teacher)
    calls: list[str] = []
    student.register_forward_hook(lambda *_: calls.append("student"))
    teacher.register_forward_hook(lambda *_: calls.append("teacher"))
    teacher.train()
    distillation = Distillation(Supervised(CrossEntropy()), teacher)
    trainer = Trainer(student, distillation, SGD(student.parameters(), lr=0.1))
    trainer.fit(batches(), epochs=2)
    assert calls.count("student") == calls.count("teacher") == trainer.step
    assert not teacher.training
    assert same_weights(before, weights_of(teacher))  # its statistics did not move either
    assert all(p.grad is None for p in teacher.parameters())
    assert set(trainer.state_dict()["model"]) == set(student.state_dict())
    calls.clear()
    trainer.evaluate(batches())
    assert "teacher" not in calls


@pytest.mark.parametrize("wrap", [Penalized, lambda inner: Distillation(inner, network(2))])
def test_what_is_measured_is_the_objective_inside(wrap: Any) -> None:
    model = network()
    inner = Supervised(CrossEntropy(label_smoothing=0.1))
    assert evaluate(wrap(inner), model, batches()) == evaluate(inner, model, batches())

    class Own:
        def __call__(self, model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
            return objective()(model, batch)[0], {}

        def evaluate(self, model: nn.Module, batches: Any) -> dict[str, float]:
            return {"loss": 7.0}

    assert evaluate(wrap(Own()), model, batches()) == {"loss": 7.0}


def test_distillation_at_share_zero_is_the_objective_inside() -> None:
    one, other = network(), network()
    teacher = network(2)
    for model, what in ((one, objective()), (other, Distillation(objective(), teacher, share=0))):
        Trainer(model, what, SGD(model.parameters(), lr=0.1)).fit(batches(), epochs=2)
    assert same_weights(weights_of(one), weights_of(other))


def test_distillation_at_share_one_imitates_without_labels() -> None:
    student, teacher = network(1), network(2)
    distillation = Distillation(objective(), teacher, share=1.0)
    x, y = next(iter(batches(100)))
    first = distillation(student, (x, y))[0].item()
    assert distillation(student, (x, y.roll(1)))[0].item() == pytest.approx(first, rel=1e-6)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
    Trainer(student, distillation, optimizer).fit([(x, y)], max_steps=150)
    assert distillation(student, (x, y))[0].item() < 0.05 * first


def test_distillation_becomes_the_squared_distance_of_logits_when_hot() -> None:
    generator = torch.Generator().manual_seed(0)
    z, t = torch.randn(2, 8, 5, dtype=torch.float64, generator=generator).unbind()
    limit = 0.5 * ((z - z.mean(1, True)) - (t - t.mean(1, True))).square().mean()
    gaps = []
    for temperature in (10.0, 100.0, 1000.0):
        found = Distillation(objective(), network(), temperature=temperature).distance(z, t)
        gaps.append(abs(found.item() / limit.item() - 1))
    assert gaps[0] > 5 * gaps[1] > 25 * gaps[2]
    assert gaps[2] < 1e-3


def test_distillation_in_mixed_precision_compares_in_single() -> None:
    student, teacher, batch = network(1), network(2), next(iter(batches()))
    distillation = Distillation(objective(), teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, logged = distillation(student, batch)
    assert logged["distillation"].dtype == torch.float32
    exact = distillation(student, batch)[1]["distillation"].item()
    assert logged["distillation"].item() == pytest.approx(exact, rel=0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    grads = [p.grad for p in student.parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in grads)


def test_the_two_can_be_put_around_each_other() -> None:
    model, teacher, batch = network(), network(2), next(iter(batches()))
    inside = Distillation(Penalized(objective(), l2=0.1), teacher, share=0.5)
    outside = Penalized(Distillation(objective(), teacher, share=0.5), l2=0.05)
    torch.testing.assert_close(inside(model, batch)[0], outside(model, batch)[0])
    assert set(inside(model, batch)[1]) == {"penalty", "distillation"}


# Gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(8, 8, 8), (5, 12, 1, 6), (24,)])
def test_hw5_10_micro_batches_give_the_gradient_of_one_big_batch(sizes: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(24, 8, dtype=torch.float64, generator=generator)
    y = torch.randint(3, (24,), generator=generator)
    gradients = []
    for given in ([(x, y)], list(zip(x.split(sizes), y.split(sizes), strict=True))):
        model = nn.Linear(8, 3).double()
        nn.init.constant_(model.weight, 0.1)
        nn.init.zeros_(model.bias)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        penalized = Penalized(Supervised(CrossEntropy()), l2=0.1)
        Trainer(model, penalized, optimizer, accumulate=len(given)).fit(given, max_steps=1)
        gradients.append(weights_of(model)["weight"])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_hw5_18_clipping_takes_all_gradients_as_one_vector(p: float) -> None:
    generator = torch.Generator().manual_seed(0)
    model = network()
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    vector = torch.cat([q.grad.flatten() for q in model.parameters() if q.grad is not None])
    norm = vector.abs().max() if p == math.inf else vector.abs().pow(p).sum().pow(1 / p)
    for most in (0.5 * norm.item(), 2 * norm.item()):
        twin = copy.deepcopy(model)
        for ours, theirs in zip(twin.parameters(), model.parameters(), strict=True):
            ours.grad = None if theirs.grad is None else theirs.grad.clone()
        found = nn.utils.clip_grad_norm_(twin.parameters(), most, norm_type=p)
        torch.testing.assert_close(found, norm)
        clipped = torch.cat([q.grad.flatten() for q in twin.parameters() if q.grad is not None])
        torch.testing.assert_close(clipped, vector * min(1.0, most / norm.item()))


# Text and errors ---------------------------------------------------------------------------------


def test_penalties_and_distillation_are_built_from_text() -> None:
    inner, teacher = objective(), network(2)
    assert penalize("L1(0.0001)", inner) == Penalized(inner, l1=0.0001)
    assert penalize("l2(strength=1e-2)", inner) == Penalized(inner, l2=0.01)
    assert penalize("ElasticNet(0.1, 0.2)", inner) == Penalized(inner, l1=0.1, l2=0.2)
    assert distill("Distillation", inner, teacher) == Distillation(inner, teacher)
    found = distill("distillation(share=0.5, temperature=2)", inner, teacher)
    assert found == Distillation(inner, teacher, share=0.5, temperature=2)
    assert str(found).endswith("temperature=2, share=0.5)")
    assert "Linear" not in str(found)
    with pytest.raises(UnknownName, match="train: no penalty named 'L3'"):
        penalize("L3(1)", inner)
    with pytest.raises(UsageError, match="`l1` must be finite and not negative; got -1"):
        penalize("L1(-1)", inner)


def test_distillation_refuses_what_cannot_teach() -> None:
    model, batch = network(), next(iter(batches()))
    with pytest.raises(UsageError, match="`teacher` must be another module than the model"):
        Distillation(objective(), model)(model, batch)
    with pytest.raises(UsageError, match=r"shape of the model's outputs, \(32, 3\); got \(32, 2\)"):
        Distillation(objective(), nn.Linear(8, 2))(model, batch)

    def twice(model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return model(batch[0]).mean() + model(batch[0]).mean(), {}

    with pytest.raises(UsageError, match="must call the model once per batch; got 2 calls"):
        Distillation(twice, network(2))(model, batch)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"temperature": 0}, "`temperature` must be positive and finite; got 0"),
        ({"share": 1.5}, r"`share` must lie in \[0, 1\]; got 1.5"),
    ],
)
def test_distillation_refuses_settings_out_of_range(more: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Distillation(objective(), network(), **more)
