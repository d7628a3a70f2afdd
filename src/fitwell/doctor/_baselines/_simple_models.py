"""Is a network any better than what simple models reach on the same examples?

N examples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ...core.errors import TrainingError, UsageError
from ...core.significance import Z95, holm, mcnemar, signed_rank
from ...data import Examples
from ...nn import TableEncoder
from .._measure import mean_interval
from .._result import Interval, ProbeResult, draw_rows
from .._rows import Data, answers_to, drawn, inputs_and_targets, taken
from .._sandbox import sandbox
from ._models import (
    NAMES,
    Floats,
    Metric,
    fitted,
    flat_features,
    score_interval,
    score_of,
    simple_model,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OWNER: Final = "simple_models"
_LIKELY: Final = 0.05


@final
@dataclass(frozen=True, kw_only=True)
class SimpleModels(ProbeResult):
    """What simple models reach, and how a network stands beside them.

    Args:
        value: Score of the network on the held-out part; without one, of the best simple model.
        interval: 95% interval of `value`.
        control: Score of the best simple model; without a network, of the constant one.
        found: Whether a simple model is better than the network, by its test and by the interval
            of the difference; without one, whether the inputs tell simple models nothing. None if
            the evidence does not say.
        conclusion: One sentence.
        metric: Of the scores.
        scores: Of each simple model.
        intervals: Their 95% intervals.
        best: Name of the simple model with the best score.
        difference: By how much the network is better than the best simple model, below 0 if it is
            worse; without one, the best than the constant one.
        difference_interval: 95% interval of `difference`, from the same examples.
        p_values: Of each simple model against the network, or against the constant one; McNemar's
            test of classes, Wilcoxon's of squared errors, after Holm.
        unsettled: Models whose fit did not come to its end.
        rows: Training rows that simple models were fitted to.
        network: Whether there was a network to compare with.
    """

    metric: Metric
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval | None]
    best: str
    difference: float
    difference_interval: Interval
    p_values: Mapping[str, float]
    unsettled: tuple[str, ...]
    rows: int
    network: bool

    def _draw(self, axes: Axes) -> None:
        rows: list[tuple[str, float, Interval | None]] = []
        if self.network:
            rows.append(("this network", self.value, self.interval))
        rows += [(name, score, self.intervals[name]) for name, score in self.scores.items()]
        draw_rows(axes, rows, f"{self.metric} on held-out examples")


def simple_models(
    train: Data,
    valid: Data,
    *,
    model: nn.Module | None = None,
    answers: Any = None,
    encoder: Callable[[Tensor], Tensor] | None = None,
    only: Sequence[str] = ("constant", "linear", "neighbors", "svm", "boosting"),
    rows: int = 10_000,
    margin: float = 0.05,
    seed: int = 0,
) -> SimpleModels:
    """Fit simple models to the same examples, and test whether a network is any better.

    The lowest rungs of the ladder: a network that is worse than one of them has a fault, not a
    hard problem, and where all of them are at the level of the constant answer, inputs or targets
    deserve a look first. Without a network, it says what there is to beat. For deeper and wider
    copies of the network itself take `capacity`; for a run, the command ``fitwell baselines``.

    The network is tested against each simple model on the same held-out examples, with the
    p-values corrected for their number, so that the best one is not better by being chosen.

    Args:
        train: `Examples`, or a pair of inputs and targets: whole numbers, from 0 on, are classes.
        valid: Held-out examples, alike.
        model: The network; gives scores of classes or numbers. Measured in evaluation mode, on a
            copy.
        answers: In place of `model`, what it has answered to `valid`: (N, K) scores of classes,
            (N,) classes, or (N,) numbers. Scores are those of classes 0, 1, ..., K - 1; of a single
            logit, give the classes that it says.
        encoder: Turns inputs into numbers for the simple models; None takes pixels in [0, 1], and
            the encoded columns of tables (`TableEncoder`, fitted to `train`).
        only: Which of constant, linear, neighbors, svm, boosting and net to fit; constant is always
            among them.
        rows: Training rows at most, drawn at random; some of the models are slow on many.
        margin: A network that is worse by at most this share of what the best simple model gains
            over the constant one is not worse.
        seed: Of what is drawn.

    Raises:
        UsageError: Targets or answers are missing or do not fit, or a name is not known.
        TrainingError: The network answers what is no number.

    Source: cortes1995support, for the support vector machine; mcnemar1947note;
        wilcoxon1945individual; holm1979simple; agresti2005simple, for the interval.
    Checked against: scikit-learn on the same parts; SciPy's tests; planted answers.
    """
    _check(model, answers, only, rows, margin)
    x, y, metric = _part(train, drawn(len(_inputs(train)), rows, seed))
    held, truth, kind = _part(valid, np.arange(len(_inputs(valid))))
    if kind != metric:
        raise UsageError(
            f"{_OWNER}: `valid` must have targets like `train`; got another kind. Give both parts"
            " whole numbers for classes, or both floats."
        )
    if metric == "accuracy" and len(np.unique(y)) < 2:
        raise UsageError(
            f"{_OWNER}: `train` must have at least two classes; got one. Give floats if targets are"
            " numbers."
        )
    said: dict[str, Floats] = {}
    unsettled = []
    with sandbox(model, encoder, seed=seed) as (made, encode):
        if encode is None and x.ndim == 2:
            encode = _table_encoder(train, x)
        features, others = flat_features(x, encode), flat_features(held, encode)
        for name in NAMES:
            if name == "constant" or name in only:
                one = simple_model(name, "class" if metric == "accuracy" else "number", seed)
                if not fitted(one, features, y):
                    unsettled.append(name)
                said[name] = one.predict(others)
        if made is not None:
            answers = answers_to(made.eval(), held)
    labels = np.concatenate([y, truth])
    own = None if answers is None else _as_answers(answers, metric, len(truth), labels)
    return _concluded(said, own, truth, metric, tuple(unsettled), len(y), margin)


def _check(
    model: nn.Module | None, answers: Any, only: Sequence[str], rows: int, margin: float
) -> None:
    wrong = None
    unknown = [name for name in only if name not in NAMES]
    if model is not None and answers is not None:
        wrong = "`answers` must be left out where `model` is given; got both. Keep one of the two"
    elif unknown:
        wrong = f"`only` must be of {', '.join(NAMES)}; got {unknown[0]!r}. Correct the name"
    elif rows < 2 or margin < 0:
        wrong = (
            f"`rows` must be at least 2 and `margin` 0 or more; got {rows} and {margin}. Use 10000"
            " and 0.05"
        )
    if wrong:
        raise UsageError(f"{_OWNER}: {wrong}.")


def _inputs(data: Data) -> Any:
    return inputs_and_targets(_OWNER, data)[0]


def _part(data: Data, places: npt.NDArray[np.int64]) -> tuple[Tensor, Floats, Metric]:
    inputs, targets = inputs_and_targets(_OWNER, data)
    if targets is None or len(targets) != len(inputs) or targets.size != len(inputs):
        raise UsageError(
            f"{_OWNER}: both parts must have one target per example; got"
            f" {'none' if targets is None else targets.shape} for {len(inputs)}. Give pairs of"
            " inputs and targets."
        )
    targets = targets.reshape(-1)
    metric: Metric = "accuracy" if targets.dtype.kind in "iub" else "rmse"
    return taken(inputs, places), targets[places], metric


def _table_encoder(train: Data, x: Tensor) -> TableEncoder:
    columns = train.schema.columns if isinstance(train, Examples) else ()
    sizes = [len(c.categories) + 1 if c.kind == "category" else 0 for c in columns]
    return TableEncoder.fit(x.float(), sizes or [0] * x.shape[1])


def _as_answers(given: Any, metric: Metric, count: int, labels: Floats) -> Floats:
    """Give the classes or numbers that a network says."""
    if isinstance(given, Tensor):
        given = given.detach().cpu()
        given = given.double() if given.is_floating_point() else given
    found: Floats = np.asarray(given)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    scores = found.ndim == 2 and metric == "accuracy"
    if found.shape[:1] != (count,) or not (found.ndim == 1 or scores):
        raise UsageError(
            f"{_OWNER}: the network must answer each of {count} examples with scores of classes, a"
            f" class or a number; got shape {found.shape}. Give its answers to `valid`, in order."
        )
    if found.dtype.kind == "f":
        excluded = np.isneginf(found) & scores  # a class that cannot be
        if not (np.isfinite(found) | excluded).all():
            raise TrainingError(
                f"{_OWNER}: the network answers {found[~np.isfinite(found) & ~excluded][0]} to some"
                " examples. first_nonfinite of fitwell.train names the layer where it begins."
            )
    if metric == "accuracy":
        _check_classes(found, labels)
    return found.argmax(axis=1) if scores else found


def _check_classes(answers: Floats, labels: Floats) -> None:
    if answers.ndim == 1 and answers.dtype.kind not in "iub":
        raise UsageError(
            f"{_OWNER}: the network must answer with classes, or with scores of all K of them; got"
            " one float for each example. Of a single logit z give `answers=(z > 0).long()`."
        )
    if answers.ndim == 2 and not 0 <= labels.min() <= labels.max() < answers.shape[1]:
        raise UsageError(
            f"{_OWNER}: targets must be 0 to {answers.shape[1] - 1} where a network gives"
            f" {answers.shape[1]} scores; got {labels.min()} to {labels.max()}. Number the classes"
            " from 0, or give classes as `answers`."
        )


_Pair = tuple[float, Interval, float]


def _compared(first: Floats, second: Floats, truth: Floats, metric: Metric) -> _Pair:
    """Give by how much the first is better, the 95% interval, and the p-value.

    Of classes, with b and c examples that only one of the two gets right, and half an example more
    in each of the four cells:

        (b - c)/n ± 1.96 √( b + c - (b - c)²/n )/n

    Of numbers, from the mean difference of squared errors, over the sum of both errors. The test
    looks at ranks, the mean at sizes: a few huge errors can turn the one against the other.
    """
    n = len(truth)
    if metric == "accuracy":
        one, two = first == truth, second == truth
        won, lost = int((one & ~two).sum()), int((two & ~one).sum())
        middle = (won - lost) / (n + 2)
        half = Z95 * math.sqrt(won + lost + 1 - (n + 2) * middle**2) / (n + 2)
        return (won - lost) / n, (middle - half, middle + half), mcnemar(won, lost)
    squares = [np.square(answers - truth) for answers in (first, second)]
    gaps = (squares[1] - squares[0]).tolist()
    total = sum(math.sqrt(float(some.mean())) for some in squares) or 1.0
    mean, (low, high) = mean_interval(gaps)
    return mean / total, (low / total, high / total), signed_rank(gaps)


def _concluded(
    said: Mapping[str, Floats],
    own: Floats | None,
    truth: Floats,
    metric: Metric,
    unsettled: tuple[str, ...],
    rows: int,
    margin: float,
) -> SimpleModels:
    scores = {name: score_of(answers, truth, metric) for name, answers in said.items()}
    sign = 1 if metric == "accuracy" else -1
    best = max(scores, key=lambda name: sign * scores[name])
    first, rival = (said[best], "constant") if own is None else (own, best)
    gap, ends, _ = _compared(first, said[rival], truth, metric)
    pairs = {
        name: _compared(answers, said["constant"], truth, metric)
        if own is None
        else _compared(own, answers, truth, metric)
        for name, answers in said.items()
        if own is not None or name != "constant"
    }
    p_values = dict(zip(pairs, holm([p for _, _, p in pairs.values()]), strict=True))
    likely = [pairs[name][1] for name, p in p_values.items() if p < _LIKELY]
    fault: bool | None = None
    if own is None:
        fault = False if any(low > 0 for low, _ in likely) else None
    elif any(high < 0 for _, high in likely):
        fault = True
    elif ends[0] >= -margin * abs(scores[best] - scores["constant"]):
        fault = False
    interval = score_interval(first, truth, metric) or (-math.inf, math.inf)
    value, control = score_of(first, truth, metric), scores[rival]
    numbers = (
        f"{metric} {value:.3g}, 95% interval {interval[0]:.3g} to {interval[1]:.3g}; {rival}"
        f" {control:.3g}; better by {gap:.3g}, {ends[0]:.3g} to {ends[1]:.3g}; p"
        f" {p_values.get(best, 1.0):.2g} after Holm"
    )
    return SimpleModels(
        value=value,
        interval=interval,
        control=control,
        found=fault,
        conclusion=f"{_start(fault, best, network=own is not None)} ({numbers}).",
        metric=metric,
        scores=scores,
        intervals={name: score_interval(said[name], truth, metric) for name in said},
        best=best,
        difference=gap,
        difference_interval=ends,
        p_values=p_values,
        unsettled=unsettled,
        rows=rows,
        network=own is not None,
    )


def _start(fault: bool | None, best: str, *, network: bool) -> str:
    if not network:
        if fault is None:
            return "Insufficient evidence that the inputs tell simple models anything"
        return f"The inputs tell simple models something, most of all {best}"
    return {
        True: f"A simple model is better than the network; the best is {best}",
        False: "The network is not worse than simple models by more than a little",
        None: "Insufficient evidence whether the network is better than simple models",
    }[fault]
