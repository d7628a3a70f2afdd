"""Are the labels right? Confident learning, permuted labels, and the order of the rows.

N rows, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import numpy.typing as npt

from ...core.errors import UsageError
from .._result import Interval, ProbeResult, draw_rows, percent
from .._rows import Data, Floats, Ints, inputs_and_targets
from .._sandbox import undisturbed
from ._classifiers import Classifier, cross_fitted, fold_places
from ._labels import codes, labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RESAMPLES: Final = 200
_NEIGHBOURS: Final = 7


def confident_joint(labels: npt.ArrayLike, probs: npt.ArrayLike) -> Ints:
    """Count how many rows of each given class confidently belong to each class.

    A row belongs to a class when its probability is at least the mean probability of that class
    among the rows labelled so; to the most probable of them if there are several, to none if
    there are none.

        tⱼ = mean over rows labelled j of p(j | x)
        C[i, j] = number of rows labelled i with  j = argmax { p(j | x) : p(j | x) ≥ tⱼ }

    Args:
        labels: (N,) given class indices.
        probs: (N, K) of a model that has not seen the row.

    Returns:
        (K, K) counts.

    Source: northcutt2021confident, equations 1 and 2.
    Checked against: cleanlab without calibration; the definition in plain loops.
    """
    given, p = _checked("confident_joint", labels, probs)
    belongs = _confident(given, p)
    counts = np.zeros((p.shape[1], p.shape[1]), dtype=np.int64)
    sure = belongs >= 0
    np.add.at(counts, (given[sure], belongs[sure]), 1)
    return counts


def noise_share(labels: npt.ArrayLike, probs: npt.ArrayLike) -> float:
    """Estimate the share of wrong labels.

    The confident joint, each row scaled to the number of rows labelled so; a class without any
    confident row counts as right.

        share = 1 - trace(Q),  Q[i, j] = (C[i, j] / Σⱼ C[i, j]) · nᵢ / N

    Args:
        labels: (N,) given class indices.
        probs: (N, K) of a model that has not seen the row.

    Source: northcutt2021confident, equation 3.
    Checked against: cleanlab, `estimate_joint`, up to its rounding to whole rows.
    """
    given, p = _checked("noise_share", labels, probs)
    return _share(confident_joint(given, p), np.bincount(given, minlength=p.shape[1]))


@final
@dataclass(frozen=True, kw_only=True)
class LabelNoise(ProbeResult):
    """How many labels are wrong, and which.

    Args:
        value: Estimated share of wrong labels.
        interval: 95% interval of `value`, from rows drawn with replacement.
        control: The same estimate on labels smoothed over neighbouring rows: what it blames where
            lone wrong labels are gone.
        found: Whether labels are wrong; None if the evidence does not say.
        conclusion: One sentence.
        suspects: Positions of rows whose label is doubted, the most doubtful first.
        confident: Counts of rows by given class and class that they confidently belong to.
        accuracy: Share of labels that the model gives, on rows that it has not seen.
        class_names: Names of the classes.
    """

    suspects: tuple[int, ...]
    confident: tuple[tuple[int, ...], ...]
    accuracy: float
    class_names: tuple[str, ...]

    def _draw(self, axes: Axes) -> None:
        rows = [
            ("these labels", self.value, self.interval),
            ("smoothed labels", self.control, None),
            ("labels the model misses", 1 - self.accuracy, None),
        ]
        draw_rows(axes, rows, "share of wrong labels")
        axes.set_xlim(left=0)


@undisturbed
def label_noise(
    data: Data,
    *,
    probs: npt.ArrayLike | None = None,
    classifier: Classifier = "logistic",
    folds: int = 5,
    max_examples: int = 5000,
    seed: int = 0,
) -> LabelNoise:
    """Estimate how many labels are wrong, and name the doubtful rows, by confident learning.

    When the training accuracy climbs slowly, or stays below that on clean data. The better the
    model, the better the estimate: a weak one calls hard rows wrong. The control shows how much:
    each label is replaced by that of most of its nearest rows, which removes lone wrong ones and
    keeps the shape of the classes, and is estimated again. Look at the rows before they are
    dropped: where classes overlap, rare labels are doubted too. Noise that follows the inputs, as
    when one annotator misses a kind of picture, is only seen as far as other rows contradict it.

    A row is doubted when it confidently belongs to another class (`confident_joint`) and the model
    would not have given its label.

    Args:
        data: `Examples` with classes, or a pair of inputs and labels.
        probs: (N, K) of a model of your own that has not seen the row, for all rows; None fits
            `classifier` across folds.
        classifier: ``logistic`` is quick; ``boosting`` is better on tables.
        folds: Of the cross-fitting.
        max_examples: Rows drawn at most.
        seed: Of draws and folds.

    Raises:
        UsageError: The targets are not classes, or `probs` do not fit them.

    Source: northcutt2021confident.
    Differs: the control, and the interval.
    Checked against: cleanlab, counts and doubtful rows; planted noise, precision and recall.
    """
    rows, places, names = labelled("label_noise", data, max_examples, seed)
    labels = codes(rows)
    folded = fold_places(labels, folds, seed)
    if probs is None:
        given = cross_fitted(
            classifier, rows.values, labels, folded, num_classes=len(names), seed=seed
        )
    else:
        all_probs = np.asarray(probs, dtype=np.float64)
        if len(all_probs) != len(inputs_and_targets("label_noise", data)[0]):
            raise UsageError(
                f"label_noise: `probs` must have a row per example; got {len(all_probs)}."
            )
        given = all_probs[places]
    labels, given = _checked("label_noise", labels, given)
    share, interval = noise_share(labels, given), _interval(labels, given, seed)
    right = _smoothed(rows.values, labels)
    again = cross_fitted(classifier, rows.values, right, folded, num_classes=len(names), seed=seed)
    control = noise_share(right, again)
    doubted = _doubted(labels, given)
    wrong = _wrong(share, interval, control)
    return LabelNoise(
        value=share,
        interval=interval,
        control=control,
        found=wrong,
        conclusion=_sentence(wrong, share, interval, control, len(doubted)),
        suspects=tuple(places[doubted].tolist()),
        confident=tuple(map(tuple, confident_joint(labels, given).tolist())),
        accuracy=float((given.argmax(axis=1) == labels).mean()),
        class_names=names,
    )


def _checked(owner: str, labels: Any, probs: Any) -> tuple[Ints, Floats]:
    given, p = np.asarray(labels, dtype=np.int64), np.asarray(probs, dtype=np.float64)
    if p.ndim != 2 or len(p) != len(given) or given.min() < 0 or given.max() >= p.shape[1]:
        raise UsageError(
            f"{owner}: `probs` must be (N, K) for N labels of 0 ... K - 1; got {p.shape} for"
            f" {given.shape} labels from {given.min()} to {given.max()}."
        )
    return given, p


def _confident(labels: Ints, probs: Floats) -> Ints:
    """Give the class that each row confidently belongs to; -1 for none."""
    counts = np.bincount(labels, minlength=probs.shape[1])
    sums = np.bincount(labels, weights=probs[np.arange(len(labels)), labels], minlength=len(counts))
    # Slightly below the mean, for classes whose rows all have the same probability.
    limits = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf) - 1e-6
    bold = np.where(probs >= limits, probs, -1.0)
    return np.where(bold.max(axis=1) >= 0, bold.argmax(axis=1), -1)


def _share(counts: Ints, given: Ints) -> float:
    total = counts.sum(axis=1)
    right = np.where(total > 0, np.diag(counts) / np.maximum(total, 1), 1.0)
    return float(1 - (right * given).sum() / given.sum())


def _interval(labels: Ints, probs: Floats, seed: int) -> Interval:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(_RESAMPLES):
        rows = random.integers(len(labels), size=len(labels))
        found.append(noise_share(labels[rows], probs[rows]))
    low, high = np.quantile(found, [0.025, 0.975])
    share = noise_share(labels, probs)
    return min(float(low), share), max(float(high), share)


def _smoothed(values: Floats, labels: Ints) -> Ints:
    """Give each row the label of most of its nearest rows, its own among them."""
    from sklearn.impute import SimpleImputer
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    near = KNeighborsClassifier(n_neighbors=min(_NEIGHBOURS, len(labels)))
    model = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), near)
    return np.asarray(model.fit(values, labels).predict(values), dtype=np.int64)


def _doubted(labels: Ints, probs: Floats) -> Ints:
    belongs = _confident(labels, probs)
    own = probs[np.arange(len(labels)), labels]
    doubted = np.flatnonzero(
        (belongs >= 0) & (belongs != labels) & (probs.argmax(axis=1) != labels)
    )
    return doubted[np.argsort(own[doubted], kind="stable")]


def _wrong(share: float, interval: Interval, control: float) -> bool | None:
    if interval[0] > control + 0.01:
        return True
    return False if interval[1] <= control + 0.05 else None


def _sentence(
    wrong: bool | None, share: float, interval: Interval, control: float, doubted: int
) -> str:
    numbers = (
        f"estimate {percent(share)}, 95% interval {percent(interval[0])} to"
        f" {percent(interval[1])}; {percent(control)} with smoothed labels"
    )
    if wrong:
        return f"Labels are wrong ({numbers}); {doubted} rows are doubted."
    if wrong is None:
        return f"Insufficient evidence of wrong labels ({numbers})."
    return f"The labels look right ({numbers})."
