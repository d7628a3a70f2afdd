"""Adversarial validation: can a classifier tell two parts of the data apart?

N rows, F features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
from torch import nn

from ...core.errors import UsageError
from .._result import Interval, ProbeResult, draw_rows
from .._rows import Data, Floats, Ints, Rows, drawn, inputs_and_targets, rows_of
from .._sandbox import undisturbed
from ._classifiers import Classifier, auc, auc_interval, cross_fitted, fold_places

if TYPE_CHECKING:
    from matplotlib.axes import Axes

View = Literal["inputs", "features", "pairs"]
_SHOWN = 10
_LIKELY = 0.05


@final
@dataclass(frozen=True, kw_only=True)
class AdversarialValidation(ProbeResult):
    """How well two parts of the data can be told apart.

    Args:
        value: AUC of a classifier on rows that it has not seen; 0.5 is chance.
        interval: 95% interval of `value`.
        control: Mean AUC with the parts' names permuted and the classifier fitted anew.
        found: Whether the parts differ; None if there are too few rows to say.
        conclusion: One sentence.
        on: What the classifier saw.
        p_value: Share of the permutations, and of the parts as they are, that reach `value`.
        permuted: AUC of each permutation.
        columns: Columns that differ most, each with its own AUC; below 0.5 the values of the
            other part are the smaller ones.
        examples: Positions in the other part, the most foreign first.
    """

    on: View
    p_value: float
    permuted: tuple[float, ...]
    columns: tuple[tuple[str, float], ...]
    examples: tuple[int, ...]

    def _draw(self, axes: Axes) -> None:
        rows: list[tuple[str, float, Interval | None]] = [("both parts", self.value, self.interval)]
        low, high = min(self.permuted), max(self.permuted)
        rows.append(("names permuted", self.control, (low, high)))
        rows += [(f"{name} alone", value, None) for name, value in self.columns[:5]]
        draw_rows(axes, rows, "AUC; 0.5 is chance")
        axes.set_xlim(0, 1)
        axes.axvline(0.5, color="gray", linewidth=0.8, linestyle=":")


@undisturbed
def adversarial_validation(
    train: Data,
    other: Data,
    *,
    on: View = "inputs",
    model: nn.Module | None = None,
    classifier: Classifier = "boosting",
    folds: int = 3,
    permutations: int = 19,
    margin: float = 0.1,
    max_examples: int = 1000,
    seed: int = 0,
) -> AdversarialValidation:
    """Ask whether a classifier can tell two parts of the data apart, and by what.

    When a score on held-out data is worse than expected, and before a part is trusted at all: a
    model that is right for one distribution need not be for another. ``inputs`` sees a shift of
    the inputs, ``features`` one that matters to a model, ``pairs`` also one of the labels or of
    what they mean, which the inputs alone do not show. A difference that is found need not hurt.

    Each row is scored by a classifier that has not seen it; the AUC is the mean over the folds.
    The control permutes which part a row is from, and does all of it again. For ``pairs``, a
    column says how likely a classifier fitted to `train` finds the label (of numbers: how large it
    finds the error).

    Args:
        train: `Examples`, inputs (N, ...) or a pair of inputs and targets; pictures are seen as
            means over fields and a few statistics.
        other: The part to compare, alike.
        on: What the classifier sees.
        model: Gives the features; give the part of a network below its last layer.
        classifier: ``boosting`` sees interactions; ``logistic`` takes a tenth of the time.
        folds: Of the cross-fitting.
        permutations: Of the control; each costs as much as the question, and the smallest
            p-value is one over one more than their number.
        margin: An AUC at most so far above 0.5 is no difference worth the name.
        max_examples: Rows drawn from each part at most.
        seed: Of draws, folds and permutations.

    Raises:
        UsageError: The parts have different columns or too few rows, or what `on` needs is missing.

    Source: lopez2017revisiting.
    Differs: refits for each permutation, so that the null is that of the whole procedure.
    Checked against: parts cut at random; shifts of known AUC; permutations by hand.
    """
    parts = [
        _part(data, on, model, drawn(len(inputs_and_targets(_NAME, data)[0]), max_examples, seed))
        for data in (train, other)
    ]
    _check(parts, folds, permutations, on)
    counts = [len(rows.values) for rows in parts]
    member = np.repeat([0, 1], counts)
    values = np.concatenate([rows.values for rows in parts])
    names = parts[0].names
    if on == "pairs":
        added, more = _label_columns(parts, folds, seed)
        values, names = np.concatenate([values, added], axis=1), (*names, *more)
    found, scores = _cross_auc(classifier, values, member, folds, seed)
    random = np.random.default_rng(seed)
    permuted = tuple(
        _cross_auc(classifier, values, random.permutation(member), folds, seed + 1 + n)[0]
        for n in range(permutations)
    )
    p_value = (1 + sum(value >= found for value in permuted)) / (1 + permutations)
    interval = auc_interval(found, counts[1], counts[0])
    columns = _alone(values, member, names)
    places = drawn(len(inputs_and_targets(_NAME, other)[0]), max_examples, seed)
    foreign = places[np.argsort(-scores[member == 1], kind="stable")[:_SHOWN]]
    differs = _verdict(p_value, interval, margin)
    return AdversarialValidation(
        value=found,
        interval=interval,
        control=float(np.mean(permuted)),
        found=differs,
        conclusion=_sentence(differs, found, interval, p_value, columns),
        on=on,
        p_value=p_value,
        permuted=permuted,
        columns=columns,
        examples=tuple(foreign.tolist()),
    )


_NAME = "adversarial_validation"


def _part(data: Data, on: View, model: nn.Module | None, places: Ints) -> Rows:
    if (on == "features") != (model is not None):
        raise UsageError(
            f"{_NAME}: `model` must be given for on='features' and only then; got on={on!r} and"
            f" model={model!r}. Give the part of the network below its last layer."
        )
    return rows_of(_NAME, data, places, model)


def _check(parts: list[Rows], folds: int, permutations: int, on: View) -> None:
    first, second = parts
    wrong = None
    if on not in ("inputs", "features", "pairs"):
        wrong = f"`on` must be 'inputs', 'features' or 'pairs'; got {on!r}"
    elif first.values.shape[1] != second.values.shape[1]:
        wrong = (
            "`other` must have the columns of `train`; got"
            f" {second.values.shape[1]} for {first.values.shape[1]}"
        )
    elif folds < 2 or permutations < 1:
        wrong = (
            "`folds` must be at least 2 and `permutations` at least 1;"
            f" got {folds} and {permutations}"
        )
    elif min(len(first.values), len(second.values)) < 2 * folds:
        wrong = (
            f"both parts must have at least {2 * folds} rows for {folds} folds;"
            f" got {len(first.values)} and {len(second.values)}"
        )
    elif on == "pairs" and (first.targets is None or second.targets is None):
        wrong = "both parts must have targets for on='pairs'; got none"
    if wrong:
        raise UsageError(f"{_NAME}: {wrong}.")


def _cross_auc(
    kind: Classifier, values: Floats, member: Ints, folds: int, seed: int
) -> tuple[float, Floats]:
    """Give the AUC, a mean over the folds, and the scores."""
    places = fold_places(member, folds, seed)
    scores = cross_fitted(kind, values, member, places, num_classes=2, seed=seed)[:, 1]
    found = [auc(scores[places == fold], member[places == fold] == 1) for fold in range(folds)]
    return float(np.mean(found)), scores


def _label_columns(parts: list[Rows], folds: int, seed: int) -> tuple[Floats, tuple[str, ...]]:
    """Give the targets as columns, and how far a model of `train` is from them.

    Row k of either part is judged by the model that has not seen fold k of `train`, so that rows
    of both parts are judged alike when the parts are alike.
    """
    first, second = parts
    if first.targets is None or second.targets is None:
        raise UsageError(f"{_NAME}: both parts must have targets for on='pairs'; got none.")
    random = np.random.default_rng(seed)
    deals = [random.permutation(np.arange(len(rows.values)) % folds) for rows in parts]
    values = np.concatenate([first.values, second.values])
    targets = np.concatenate([first.targets, second.targets])
    place, known = np.concatenate(deals), len(first.values)
    if first.is_class:
        classes, codes = np.unique(targets, return_inverse=True)
        hot = np.eye(len(classes))[codes]
        judged = np.zeros((len(codes), len(classes)))
        for fold in range(folds):
            stay = np.flatnonzero(deals[0] != fold)
            model = _classes_of(values[stay], codes[stay], seed)
            out = place == fold
            judged[np.ix_(out, model.classes_)] = model.predict_proba(values[out])
        surprise = -np.log(np.maximum(judged[np.arange(len(codes)), codes], 1e-6))
        names = (*(f"target {name}" for name in classes), "surprise at the target")
        return np.column_stack([hot, surprise]), names
    from sklearn.ensemble import HistGradientBoostingRegressor

    error = np.empty(len(targets))
    for fold in range(folds):
        stay, out = np.flatnonzero(deals[0] != fold), place == fold
        regressor = HistGradientBoostingRegressor(early_stopping=False, random_state=seed)
        regressor.fit(values[:known][stay], targets[:known][stay])
        error[out] = targets[out] - regressor.predict(values[out])
    return np.column_stack([targets, error, np.abs(error)]), (
        "target",
        "error of the target",
        "size of that error",
    )


def _classes_of(values: Floats, codes: Ints, seed: int) -> Any:
    from ._classifiers import classifier

    return classifier("logistic" if len(np.unique(codes)) > 2 else "boosting", seed).fit(
        values, codes
    )


def _alone(values: Floats, member: Ints, names: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """Give the columns that differ most by themselves; a missing value counts as the smallest."""
    filled = np.where(np.isnan(values), -np.inf, values)
    found = [auc(filled[:, n], member == 1) for n in range(filled.shape[1])]
    order = np.argsort([-abs(value - 0.5) for value in found], kind="stable")[:_SHOWN]
    return tuple((names[n], found[n]) for n in order)


def _verdict(p_value: float, interval: Interval, margin: float) -> bool | None:
    if p_value <= _LIKELY and interval[0] > 0.5:
        return True
    return False if interval[1] <= 0.5 + margin else None


def _sentence(
    differs: bool | None,
    found: float,
    interval: Interval,
    p_value: float,
    columns: tuple[tuple[str, float], ...],
) -> str:
    numbers = (
        f"AUC {found:.2f}, 95% interval {interval[0]:.2f} to {interval[1]:.2f}, p {p_value:.2g}"
    )
    if differs:
        name, alone = columns[0]
        return (
            f"A classifier tells the parts apart ({numbers}); {name} differs most"
            f" (AUC {alone:.2f} alone)."
        )
    if differs is None:
        return (
            f"Insufficient evidence whether the parts differ ({numbers}); more rows or permutations"
            " would say."
        )
    return f"A classifier cannot tell the parts apart by more than chance or a little ({numbers})."
