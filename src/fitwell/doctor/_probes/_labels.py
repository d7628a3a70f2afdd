"""Do the labels belong to their rows, and in which order do they come?

N rows, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from torch import Tensor

from ...core.errors import UsageError
from ...core.intervals import wilson_interval
from ...core.significance import Z95
from ...data import Examples
from .._result import ProbeResult, draw_rows, percent
from .._rows import Data, Ints, Rows, drawn, inputs_and_targets, rows_of
from .._sandbox import undisturbed
from ._classifiers import Classifier, cross_fitted, fold_places

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST: Final = 10


@final
@dataclass(frozen=True, kw_only=True)
class LabelPermutation(ProbeResult):
    """Whether the labels belong to their rows at all.

    Args:
        value: Accuracy on rows that the classifier has not seen.
        interval: 95% interval of `value`.
        control: Mean accuracy with permuted labels.
        found: Whether labels and rows do not belong together; None if the evidence does not say.
        conclusion: One sentence.
        p_value: Share of the permutations, and of the labels as they are, that reach `value`.
        permuted: Accuracy of each permutation.
    """

    p_value: float
    permuted: tuple[float, ...]

    def _draw(self, axes: Axes) -> None:
        between = (min(self.permuted), max(self.permuted))
        rows = [("labels", self.value, self.interval), ("permuted", self.control, between)]
        draw_rows(axes, rows, "accuracy on unseen rows")


@undisturbed
def label_permutation(
    data: Data,
    *,
    classifier: Classifier = "logistic",
    folds: int = 3,
    permutations: int = 19,
    margin: float = 0.05,
    max_examples: int = 1000,
    seed: int = 0,
) -> LabelPermutation:
    """Compare what a classifier learns with what it learns from permuted labels.

    When validation stays at chance while training memorises: if nothing can be learned from these
    labels that permuted ones do not give as well, inputs and labels were shuffled apart, or the
    inputs say nothing about them.

    Args:
        data: `Examples` with classes, or a pair of inputs and labels.
        classifier: ``logistic`` is quick; ``boosting`` sees what is not linear.
        folds: Of the cross-fitting.
        permutations: Of the control; each costs as much as the question.
        margin: An accuracy at most so far above the control is nothing learned.
        max_examples: Rows drawn at most.
        seed: Of draws, folds and permutations.

    Raises:
        UsageError: The targets are not classes, or there are no permutations.

    Source: ojala2010permutation, test 1.
    Checked against: planted labels; uniform p-values for labels without meaning.
    """
    if permutations < 1:
        raise UsageError(
            f"label_permutation: `permutations` must be at least 1; got {permutations}. Use 19."
        )
    rows, _, names = labelled("label_permutation", data, max_examples, seed)
    labels = codes(rows)

    def accuracy(given: Ints) -> float:
        folded = fold_places(given, folds, seed)
        probs = cross_fitted(
            classifier, rows.values, given, folded, num_classes=len(names), seed=seed
        )
        return float((probs.argmax(axis=1) == given).mean())

    random = np.random.default_rng(seed)
    found = accuracy(labels)
    permuted = tuple(accuracy(random.permutation(labels)) for _ in range(permutations))
    p_value = (1 + sum(value >= found for value in permuted)) / (1 + permutations)
    control = float(np.mean(permuted))
    interval = wilson_interval(round(found * len(labels)), len(labels))
    apart: bool | None = None
    if p_value <= 0.05 and interval[0] > control:
        apart = False
    elif interval[1] <= control + margin:
        apart = True
    numbers = (
        f"accuracy {percent(found)}, 95% interval {percent(interval[0])} to {percent(interval[1])};"
        f" permuted {percent(control)}, p {p_value:.2g}"
    )
    starts = {
        True: "Nothing can be learned from these labels that permuted ones do not give",
        False: "Labels and rows belong together",
        None: "Insufficient evidence whether labels and rows belong together",
    }
    return LabelPermutation(
        value=found,
        interval=interval,
        control=control,
        found=apart,
        conclusion=f"{starts[apart]} ({numbers}).",
        p_value=p_value,
        permuted=permuted,
    )


@final
@dataclass(frozen=True, kw_only=True)
class LabelOrder(ProbeResult):
    """Whether rows come sorted by class, and how many there are of each.

    Args:
        value: Share of neighbouring rows with the same label.
        interval: Range that holds this share in 95 of 100 random orders.
        control: Its mean in a random order.
        found: Whether rows come sorted, in part at least; None if there are too few to say.
        conclusion: One sentence.
        counts: Rows of each class.
    """

    counts: Mapping[str, int]

    def _draw(self, axes: Axes) -> None:
        axes.bar(list(self.counts), list(self.counts.values()), color="tab:blue")
        axes.set_ylabel("rows")
        found, chance = percent(self.value), percent(self.control)
        axes.set_title(f"{found} of neighbours alike; {chance} at random", fontsize="medium")


def label_order(data: Data) -> LabelOrder:
    """Ask whether rows come sorted by class, and count the classes.

    Sorted rows are harmless as long as they are shuffled before they are cut into batches and
    parts; without that, the loss goes up and down with the epoch and a part lacks classes.

        share = (N - R)/(N - 1),  R the number of runs;  mean R = (N(N + 1) - Σ nₖ²)/N
        variance R = (Σ nₖ² (Σ nₖ² + N(N + 1)) - 2N Σ nₖ³ - N³) / (N²(N - 1))

    Args:
        data: `Examples` with classes, a pair of inputs and labels, or labels (N,) as they come.

    Raises:
        UsageError: There are no labels.

    Source: wald1940test.
    Differs: for more than two classes; the normal limit.
    Checked against: all orders of small sets.
    """
    labels, names = _classes(data)
    n = len(labels)
    if n < 2:
        raise UsageError(f"label_order: `data` must have at least two labels; got {n}. Give all.")
    values, codes_of, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    runs = 1 + int((codes_of[1:] != codes_of[:-1]).sum())
    squares, cubes = (
        float((sizes.astype(float) ** 2).sum()),
        float((sizes.astype(float) ** 3).sum()),
    )
    mean = (n * (n + 1) - squares) / n
    variance = (squares * (squares + n * (n + 1)) - 2 * n * cubes - float(n) ** 3) / (
        n * n * (n - 1)
    )
    half = Z95 * math.sqrt(max(variance, 0.0)) / (n - 1)
    share, control = (n - runs) / (n - 1), (n - mean) / (n - 1)
    interval = (max(0.0, control - half), min(1.0, control + half))
    is_sorted: bool | None = None
    if len(sizes) > 1 and n >= _FEWEST:
        is_sorted = share > interval[1] and share > control + 0.05
    rarest = names.get(int(values[sizes.argmin()]), str(values[sizes.argmin()]))
    few = f"{len(sizes)} classes of {sizes.min()} to {sizes.max()} rows, fewest of {rarest}"
    numbers = (
        f"{percent(share)} of neighbours have the same label; in a random order"
        f" {percent(interval[0])} to {percent(interval[1])}; {few}"
    )
    starts = {
        True: "Rows come sorted by class, in part at least; shuffle them",
        False: "Rows come in no order of classes",
        None: "Insufficient evidence of an order",
    }
    return LabelOrder(
        value=share,
        interval=interval,
        control=control,
        found=is_sorted,
        conclusion=f"{starts[is_sorted]} ({numbers}).",
        counts={
            names.get(int(v), str(v)): int(size) for v, size in zip(values, sizes, strict=True)
        },
    )


def _classes(data: Data) -> tuple[Ints, dict[int, str]]:
    """Give the labels as they come, and names of classes."""
    names: dict[int, str] = {}
    targets: Any = data
    if isinstance(data, Examples):
        targets, names = data.targets, dict(enumerate(data.schema.class_names))
    elif isinstance(data, tuple) and len(data) == 2:
        targets = data[1]
    if isinstance(targets, Tensor):
        targets = targets.detach().cpu()
    found = np.asarray([] if targets is None else targets)
    if found.ndim != 1 or found.dtype.kind not in "iub" or len(found) == 0:
        raise UsageError(
            f"label_order: `data` must have classes as targets; got {found.dtype} of shape"
            f" {found.shape}. Give labels (N,)."
        )
    return found.astype(np.int64), names


def labelled(owner: str, data: Data, most: int, seed: int) -> tuple[Rows, Ints, tuple[str, ...]]:
    """Give rows whose targets are classes 0, 1, ..., their places, and the names of the classes.

    Args:
        owner: Who asks, for errors.
        data: `Examples` with classes, or a pair of inputs and labels.
        most: Rows drawn at most.
        seed: Of the draw.
    """
    count = len(inputs_and_targets(owner, data)[0])
    places = drawn(count, most, seed)
    rows = rows_of(owner, data, places)
    if not rows.is_class or rows.targets is None:
        raise UsageError(f"{owner}: `data` must have classes as targets; got none. Give labels.")
    if rows.targets.min() < 0:
        raise UsageError(
            f"{owner}: labels must be 0 or more; got {rows.targets.min()}. Leave out rows without a"
            " label, and count classes from 0."
        )
    classes = int(rows.targets.max()) + 1
    names = data.schema.class_names if isinstance(data, Examples) else ()
    return rows, places, names or tuple(map(str, range(classes)))


def codes(rows: Rows) -> Ints:
    """Give the class of each row.

    Args:
        rows: With targets.
    """
    return np.asarray(rows.targets, dtype=np.int64)
