"""The gap: a memoriser is flagged, healthy models are not, intervals are those of scipy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.core.intervals import wilson_interval
from fitwell.data import Batches, Noise
from fitwell.doctor import generalization_gap, state_digest
from fitwell.doctor._measure import accuracy_gap, best_constant, class_errors, without_noise
from fitwell.doctor._probes._gap import _mean, _welch

from ..train.problems import examples

Pairs = list[tuple[Tensor, Tensor]]
CLASSES = 5


def labelled(count: int, seed: int) -> Pairs:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 8, generator=random)
    y = (x @ torch.randn(8, CLASSES, generator=torch.Generator().manual_seed(9))).argmax(dim=1)
    return list(zip(x.split(50), y.split(50), strict=True))


class Memoriser(nn.Module):
    """Gives the label of what it has seen, and a random one of anything else."""

    def __init__(self, seen: Pairs, scale: float = 30.0) -> None:
        super().__init__()
        self.labels = {self.key(x): int(y) for xs, ys in seen for x, y in zip(xs, ys, strict=True)}
        self.scale = scale

    @staticmethod
    def key(x: Tensor) -> bytes:
        return x.numpy().tobytes()

    def forward(self, inputs: Tensor) -> Tensor:
        labels = [
            self.labels.get(self.key(x), int.from_bytes(self.key(x)[-2:], "little") % CLASSES)
            for x in inputs
        ]
        return self.scale * F.one_hot(torch.tensor(labels), CLASSES).float()


def test_tune_05_the_memoriser_is_flagged() -> None:
    train, valid = labelled(200, 0), labelled(200, 1)
    found = generalization_gap(Memoriser(train), F.cross_entropy, train, valid)
    assert found.train_loss == pytest.approx(0, abs=1e-9)
    assert found.accuracy is not None
    assert found.accuracy.train == 1
    low, high = found.accuracy.valid_interval
    assert low < 1 / CLASSES < high  # chance
    assert found.found is True
    assert found.interval[0] > found.control > 1
    assert "learned by heart" in str(found)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_tune_05_a_cautious_memoriser_is_flagged_too(scale: float) -> None:
    train, valid = labelled(500, 0), labelled(500, 1)
    found = generalization_gap(Memoriser(train, scale), F.cross_entropy, train, valid)
    assert found.found is True


def test_tune_05_a_model_that_has_learned_the_rule_is_not_flagged() -> None:
    train, valid = labelled(1000, 0), labelled(1000, 1)
    rule = nn.Linear(8, CLASSES, bias=False)
    weights = torch.randn(8, CLASSES, generator=torch.Generator().manual_seed(9))
    rule.weight.data = 3 * weights.T
    found = generalization_gap(rule, F.cross_entropy, train, valid)
    assert found.found is False
    assert found.accuracy is not None
    assert found.accuracy.train == found.accuracy.valid == 1
    assert "no gap to speak of" in str(found)


def test_a_model_that_knows_nothing_has_no_gap_and_is_told_so() -> None:
    class Zero(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(len(x), CLASSES)

    found = generalization_gap(Zero(), F.cross_entropy, labelled(200, 0), labelled(200, 1))
    assert found.found is False
    assert found.value == pytest.approx(0, abs=1e-6)
    assert found.control <= 0
    assert "nothing was learned" in str(found)


def test_nothing_learned_and_a_wide_interval_are_no_evidence() -> None:
    x = torch.ones(12, 1)
    seen = [(x, torch.randn(12, 1, generator=torch.Generator().manual_seed(0)))]
    held = [(x, torch.randn(12, 1, generator=torch.Generator().manual_seed(4)))]
    found = generalization_gap(nn.Identity(), F.mse_loss, seen, held)
    assert found.control <= 0
    assert found.interval[0] < 0 < 0.5 < found.interval[1]
    assert found.found is None
    assert "whether there is a gap, and nothing was learned" in str(found)


class Table(nn.Module):
    """Remembers numbers and answers with those of the nearest input."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        super().__init__()
        self.x, self.y = x, y

    def forward(self, x: Tensor) -> Tensor:
        return self.y[torch.cdist(x, self.x).argmin(dim=1)]


def test_tune_05_numbers_too() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(400, 3, generator=random)
    noise = torch.randn(400, 1, generator=random)
    train, valid = [(x[:200], noise[:200])], [(x[200:], noise[200:])]
    found = generalization_gap(Table(x[:200], noise[:200]), F.mse_loss, train, valid)
    assert found.found is True
    assert found.accuracy is None
    assert found.train_loss == 0
    # Two independent numbers of variance 1 where the best constant has 1.
    assert found.control == pytest.approx(float(noise[200:].var(correction=0)), rel=1e-4)
    assert found.interval[0] < 2 < found.interval[1]
    smooth = x.sum(dim=1, keepdim=True)
    line = nn.Linear(3, 1)
    line.weight.data.fill_(1.0)
    line.bias.data.zero_()
    y = smooth + 0.1 * noise
    healthy = generalization_gap(line, F.mse_loss, [(x[:200], y[:200])], [(x[200:], y[200:])])
    assert healthy.found is False


def test_few_examples_are_no_evidence() -> None:
    # A random labelling in part: a gap on 12 held-out examples that may be chance.
    train, valid = labelled(200, 0), [(x[:12], y[:12]) for x, y in labelled(50, 1)]
    rule = nn.Linear(8, CLASSES, bias=False)
    weights = torch.randn(8, CLASSES, generator=torch.Generator().manual_seed(9))
    noise = torch.randn(8, CLASSES, generator=torch.Generator().manual_seed(3))
    rule.weight.data = (3 * weights + 1.5 * noise).T
    found = generalization_gap(rule, F.cross_entropy, train, valid)
    assert found.found is None
    assert "Insufficient evidence" in str(found)


def test_intervals_equal_those_of_scipy() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(0, 1, 32), random.normal(1, 3, 20)
    parts = [[(float(v), 5) for v in values] for values in (one, other)]
    for part, values in zip(parts, (one, other), strict=True):
        mean, (low, high) = _mean(part)
        expected = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        assert (mean, low, high) == pytest.approx((values.mean(), *expected))
    value, (low, high) = _welch(*parts)
    welch = stats.ttest_ind(other, one, equal_var=False)
    half = stats.t.ppf(0.975, math.floor(welch.df)) * math.hypot(stats.sem(one), stats.sem(other))
    assert value == pytest.approx(other.mean() - one.mean())
    assert (low, high) == pytest.approx((value - half, value + half))
    exact = welch.confidence_interval(0.95)
    assert low <= exact.low <= exact.high <= high  # whole degrees of freedom are cautious
    assert (low, high) == pytest.approx((exact.low, exact.high), rel=0.02)


def test_the_interval_of_accuracies_is_that_of_newcombe() -> None:
    # Table II of the paper, method 10, example (a): 56/70 and 48/80.
    right = [torch.arange(70) < 56]
    found = accuracy_gap(right, [torch.arange(80) < 48])
    assert found.value == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.train_interval == wilson_interval(56, 70)
    nothing = accuracy_gap([torch.ones(10).bool()], [torch.ones(10).bool()])
    assert nothing.interval[0] == pytest.approx(-nothing.interval[1])


def test_shares_of_examples_have_the_interval_of_their_mean() -> None:
    random = np.random.default_rng(0)
    shares, held = random.random(40), random.random(25)
    found = accuracy_gap([torch.tensor(shares[:30]), torch.tensor(shares[30:])], [torch.ones(25)])
    assert found.train == pytest.approx(shares.mean())
    low, high = stats.t.interval(0.95, 39, shares.mean(), stats.sem(shares))
    assert found.train_interval == pytest.approx((low, high))
    assert found.valid_interval == wilson_interval(25, 25)  # whole examples
    both = accuracy_gap([torch.tensor(shares)], [torch.tensor(held)])
    sides = [stats.t.interval(0.95, len(s) - 1, s.mean(), stats.sem(s)) for s in (shares, held)]
    half = math.hypot(shares.mean() - sides[0][0], sides[1][1] - held.mean())
    assert both.interval == pytest.approx((both.value - half, both.value + half))
    assert accuracy_gap([torch.tensor([0.5])], [torch.ones(9)]).train_interval == (0, 1)


def test_pixels_of_one_picture_are_no_further_examples() -> None:
    class Sign(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([-x, x], dim=1)

    random = torch.Generator().manual_seed(0)
    one = torch.randint(2, (40, 1, 1), generator=random)
    x, y = torch.ones(40, 1, 6, 7), one.expand(40, 6, 7).clone()
    many = generalization_gap(Sign(), F.cross_entropy, [(x, y)], [(x, y)]).accuracy
    few = generalization_gap(Sign(), F.cross_entropy, *[[(x[:, :, 0, 0], one[:, 0, 0])]] * 2)
    assert many == few.accuracy  # as sure as of 40 examples, not of 1680
    y[:, :3], y[:4] = -100, -100  # what is left out, in part and whole
    masked = generalization_gap(Sign(), F.cross_entropy, [(x, y)], [(x, y)]).accuracy
    assert masked is not None
    hits = int(one[4:].sum())
    assert masked.valid_interval == wilson_interval(hits, 36)
    assert masked.chance == pytest.approx(max(hits, 36 - hits) / 36)
    lost = generalization_gap(Sign(), F.cross_entropy, [(x, y)], [(x, torch.full_like(y, -100))])
    assert (lost.accuracy, lost.found) == (None, None)


def test_the_interval_covers_the_gap() -> None:
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        losses = [random.exponential(scale, 32) for scale in (0.5, 1.0)]
        _, (low, high) = _welch(*[[(float(v), 1) for v in some] for some in losses])
        inside += low <= 0.5 <= high
    assert stats.binomtest(inside, 300, 0.95).pvalue > 1e-3


def test_parts_of_unequal_batches_weigh_as_their_examples() -> None:
    train = [(torch.zeros(30, 1), torch.ones(30, 1)), (torch.zeros(2, 1), 5 * torch.ones(2, 1))]
    found = generalization_gap(nn.Identity(), F.mse_loss, train, train)
    assert found.train_loss == found.valid_loss == pytest.approx((30 * 1 + 2 * 25) / 32)


@pytest.mark.parametrize(
    ("shape", "targets"), [((4, 3), (4,)), ((4, 3, 5), (4, 5)), ((4, 5, 3), (4, 5))]
)
def test_classes_may_lie_first_or_last(shape: tuple[int, ...], targets: tuple[int, ...]) -> None:
    outputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    axis = shape.index(3)
    truth = outputs.argmax(dim=axis)
    assert truth.shape == targets
    assert not class_errors(outputs, truth).any()
    assert class_errors(outputs, (truth + 1) % 3).all()


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wanted", [torch.float64, torch.float32])
def test_the_best_constant_has_the_type_of_the_outputs(
    kind: torch.dtype, wanted: torch.dtype
) -> None:
    y = (torch.arange(40) % 4 == 0).to(wanted)[:, None]
    loss = F.binary_cross_entropy_with_logits
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert best_constant(loss, torch.zeros(40, 1, dtype=kind), y) == pytest.approx(entropy)
    found = best_constant(F.binary_cross_entropy, torch.zeros(40, 1, dtype=kind), y)
    assert found == pytest.approx(entropy)  # of shares, which ask for equal types


def test_dropping_is_off_however_it_is_written_down() -> None:
    class DropOften(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop_path, self.dropout, self.droprate = 0.3, 1, 0.5
            self.drop_last, self.drops_every = True, 5
            self.norm, self.drop = nn.BatchNorm1d(2), nn.Dropout(1)

    model = DropOften()
    without_noise(model)
    assert (model.drop_path, model.dropout, model.droprate) == (0, 0, 0)
    assert (model.drop_last, model.drops_every) == (True, 5)
    assert not model.drop.training
    assert model.norm.training  # a name says nothing about what lies within
    rows = nn.LSTM(2, 3, num_layers=2, dropout=1)
    without_noise(rows)
    x = torch.ones(1, 4, 2)
    assert torch.equal(rows(x)[0], rows.eval()(x)[0])


def test_everything_is_left_as_it_was_and_augmentation_is_left_out() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 3))
    model.train()
    train = Batches(examples(100), 32, shuffle=True, seed=1, augment=Noise(std=50.0))
    plain = Batches(examples(100), 32)
    valid = Batches(examples(80, seed=2), 32)
    before = state_digest(model, train, valid)
    found = generalization_gap(model, F.cross_entropy, train, valid)
    assert state_digest(model, train, valid) == before
    same = generalization_gap(model, F.cross_entropy, plain, valid)
    assert found.train_loss == pytest.approx(same.train_loss)
    with torch.no_grad():
        rows = next(iter(Batches(examples(100), 100)))
        expected = float(F.cross_entropy(model.eval()(rows[0]), rows[1]))
    assert found.train_loss == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_is_lost_is_no_evidence_and_an_infinite_one_is() -> None:
    class Lost(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x > 1, self.value, x)

    seen, held = (
        [(torch.zeros(9, 1), torch.zeros(9, 1))],
        [(2 * torch.ones(9, 1), torch.ones(9, 1))],
    )
    assert generalization_gap(Lost(math.nan), F.mse_loss, seen, held).found is None
    assert generalization_gap(Lost(math.inf), F.mse_loss, seen, held).found is True


def test_parts_that_differ_are_no_learning_by_heart() -> None:
    seen = [(torch.zeros(20, 1), torch.ones(20, 1) + torch.arange(20)[:, None] % 2)]
    held = [(x, y + 5) for x, y in seen]
    found = generalization_gap(nn.Identity(), F.mse_loss, seen, held)
    assert found.found is True
    assert found.control <= 0
    assert "nothing was learned: the parts differ" in str(found)


def test_it_is_plain_data_and_a_picture() -> None:
    train, valid = labelled(100, 0), labelled(100, 1)
    found = generalization_gap(Memoriser(train), F.cross_entropy, train, valid)
    assert json.loads(json.dumps(found.to_dict()))["accuracy"]["train"] == 1
    (axes,) = found.figure().axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["training", "held out", "held out, same outputs"]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: generalization_gap(nn.Identity(), F.mse_loss, [], []),
            "generalization_gap: `batches` must give at least one pair",
        ),
        (
            lambda: generalization_gap(nn.Identity(), F.mse_loss, [], [], margin=-1),
            "generalization_gap: `margin` must be at least 0",
        ),
    ],
)
def test_what_is_wrong_is_said(call: Callable[[], object], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        call()
