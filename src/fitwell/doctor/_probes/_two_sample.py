"""Are two parts of the data from one distribution? A kernel says, without fitting anything.

N rows, m and n rows of the parts, F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, final

import numpy as np
from torch import nn

from ...core.errors import UsageError
from ...core.significance import Z95
from .._result import Interval, ProbeResult, draw_rows
from .._rows import Data, Floats, Ints, drawn, inputs_and_targets, rows_of
from .._sandbox import undisturbed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OWNER: Final = "two_sample"
_SHOWN: Final = 10
_LIKELY: Final = 0.05


@final
@dataclass(frozen=True, kw_only=True)
class TwoSample(ProbeResult):
    """How far apart two parts of the data are, as a kernel sees it.

    Args:
        value: Unbiased estimate of the squared maximum mean discrepancy; about 0, also below it,
            for parts of one distribution.
        interval: 95% interval of `value`, by the jackknife.
        control: Mean of `permuted`.
        found: Whether the parts differ; None if there are too few rows to say.
        conclusion: One sentence.
        p_value: Share of the permutations, and of the parts as they are, that reach `value`.
        permuted: The same with the parts' names permuted.
        planted: What a shift of every column by `margin` standard deviations would give.
        bandwidth: Of the kernel.
        examples: Positions in the other part, those least like the first part first.
    """

    p_value: float
    permuted: tuple[float, ...]
    planted: float
    bandwidth: float
    examples: tuple[int, ...]

    def _draw(self, axes: Axes) -> None:
        low, high = np.quantile(self.permuted, [0.025, 0.975])
        rows: list[tuple[str, float, Interval | None]] = [
            ("both parts", self.value, self.interval),
            ("names permuted", self.control, (float(low), float(high))),
            ("planted shift", self.planted, None),
        ]
        draw_rows(axes, rows, "squared maximum mean discrepancy")
        axes.axvline(0, color="gray", linewidth=0.8, linestyle=":")


@undisturbed
def two_sample(
    train: Data,
    other: Data,
    *,
    on: Literal["inputs", "features"] = "inputs",
    model: nn.Module | None = None,
    standardize: bool = True,
    bandwidth: float | None = None,
    permutations: int = 199,
    margin: float = 0.2,
    max_examples: int = 1000,
    seed: int = 0,
) -> TwoSample:
    """Test whether two parts of the data come from one distribution, by maximum mean discrepancy.

    Quicker than `adversarial_validation`, since nothing is fitted, and the stronger test of the two
    when many columns move a little. That one says by which columns the parts differ, and is the
    stronger when a few of many columns do; run both when it matters. A difference that is found
    need not hurt.

        MMD² = mean over i ≠ j of k(xᵢ, xⱼ) + mean over i ≠ j of k(yᵢ, yⱼ) - 2 mean of k(xᵢ, yⱼ)
        k(a, b) = exp( -‖a - b‖² / 2σ² ),   σ the median distance between two rows of either part

    The control permutes which part a row is from. The test is exact: parts of one distribution are
    called different in at most 5 of 100 cases, whatever the distribution, as long as rows are
    independent. Parts are called alike only if a shift of `margin` lies above the interval.

    Args:
        train: `Examples`, inputs (N, ...) or a pair of inputs and targets, which are not used;
            pictures are seen as means over fields and a few statistics.
        other: The part to compare, alike.
        on: Whether to compare the inputs or what a model makes of them.
        model: Gives the features; give the part of a network below its last layer.
        standardize: Give each column mean 0 and standard deviation 1 over both parts first;
            otherwise columns of large numbers decide alone.
        bandwidth: σ; None takes the median.
        permutations: Of the control; the smallest p-value is one over one more than their number.
        margin: A shift of all columns by less than so many standard deviations is no difference
            worth the name.
        max_examples: Rows drawn from each part at most; memory grows with their square.
        seed: Of draws and permutations.

    Raises:
        UsageError: The parts have different columns or too few rows, or a number is out of range.

    Source: gretton2012kernel, equation 3 and section 8; rabanser2019failing, for shifts of data;
        efron1981jackknife, for the interval.
    Checked against: sums written out; alibi-detect; shares of false alarms over many draws.
    """
    if (on == "features") != (model is not None):
        raise UsageError(
            f"{_OWNER}: `model` must be given for on='features' and only then; got on={on!r} and"
            f" model={model!r}. Give the part of the network below its last layer."
        )
    places = [
        drawn(len(inputs_and_targets(_OWNER, data)[0]), max_examples, seed)
        for data in (train, other)
    ]
    first, second = (
        rows_of(_OWNER, data, some, model).values
        for data, some in zip((train, other), places, strict=True)
    )
    _check(first, second, permutations, margin, bandwidth)
    rows = _filled(np.concatenate([first, second]), standardize)
    squares = _squares(rows, rows)
    width = bandwidth or _median_distance(squares)
    kernel = np.exp(squares / (-2 * width**2))
    m = len(first)
    value, interval = _discrepancy(kernel, m)
    permuted = _permuted(kernel, m, permutations, seed)
    p_value = float((1 + (permuted >= value - 1e-12).sum()) / (1 + permutations))
    planted = _planted(rows[:m], margin * rows.std(axis=0), width)
    foreign = _foreign(kernel, m)
    differs = _verdict(p_value, interval[1], planted)
    return TwoSample(
        value=value,
        interval=interval,
        control=float(permuted.mean()),
        found=differs,
        conclusion=_sentence(differs, value, interval, p_value, permuted, planted, margin),
        p_value=p_value,
        permuted=tuple(permuted.tolist()),
        planted=planted,
        bandwidth=width,
        examples=tuple(places[1][foreign].tolist()),
    )


def _check(
    first: Floats, second: Floats, permutations: int, margin: float, bandwidth: float | None
) -> None:
    wrong = None
    if first.shape[1] != second.shape[1]:
        wrong = (
            f"`other` must have the columns of `train`; got {second.shape[1]} for {first.shape[1]}"
        )
    elif min(len(first), len(second)) < 4:
        wrong = f"both parts must have at least 4 rows; got {len(first)} and {len(second)}"
    elif permutations < 19:
        wrong = f"`permutations` must be at least 19, for a p-value of 0.05; got {permutations}"
    elif not margin > 0:
        wrong = f"`margin` must be positive; got {margin}"
    elif bandwidth is not None and not 0 < bandwidth < math.inf:
        wrong = f"`bandwidth` must be positive and finite, or None; got {bandwidth}"
    if wrong:
        raise UsageError(f"{_OWNER}: {wrong}.")


def _filled(rows: Floats, standardize: bool) -> Floats:
    """Fill what is missing with the mean, beside a column that says where; standardize."""
    gaps = ~np.isfinite(rows)
    known = np.where(gaps, 0.0, rows)
    means = known.sum(axis=0) / np.maximum((~gaps).sum(axis=0), 1)
    some = gaps.any(axis=0)
    rows = np.concatenate([np.where(gaps, means, rows), gaps[:, some].astype(np.float64)], axis=1)
    if standardize:
        spread = rows.std(axis=0)
        level = np.abs(rows).max(axis=0)
        varies = spread > 1e-12 * level
        rows = (rows - rows.mean(axis=0)) / np.where(varies, spread, np.inf)
    return rows


def _squares(first: Floats, second: Floats) -> Floats:
    """Give the squared distances of all pairs of rows."""
    middle = first.mean(axis=0)  # near it, less is lost to rounding
    first, second = first - middle, second - middle
    norms = [np.square(rows).sum(axis=1) for rows in (first, second)]
    squares: Floats = norms[0][:, None] + norms[1][None, :] - 2 * first @ second.T
    return np.maximum(squares, 0.0)


def _median_distance(squares: Floats) -> float:
    """Give the median distance of two rows; of those that differ, if most are the same."""
    pairs = np.sqrt(squares[np.triu_indices(len(squares), 1)])
    found = float(np.median(pairs))
    if found <= 0:
        apart = pairs[pairs > 0]
        found = float(np.median(apart)) if len(apart) else 1.0
    return found


def _sums(kernel: Floats, members: Floats) -> Floats:
    """Give MMD² for columns of members, 1 in the second part and 0 in the first."""
    inner = kernel - np.diag(np.diag(kernel))
    n = members[:, 0].sum()
    m = len(members) - n
    total, toward = inner.sum(), inner.sum(axis=1) @ members
    second = (members * (inner @ members)).sum(axis=0)
    across = toward - second
    first = total - 2 * toward + second
    sums: Floats = first / (m * (m - 1)) + second / (n * (n - 1)) - 2 * across / (m * n)
    return sums


def _permuted(kernel: Floats, m: int, permutations: int, seed: int) -> Floats:
    random = np.random.default_rng(seed)
    plain = np.repeat([0.0, 1.0], [m, len(kernel) - m])
    return _sums(kernel, np.stack([random.permutation(plain) for _ in range(permutations)], axis=1))


def _discrepancy(kernel: Floats, m: int) -> tuple[float, Interval]:
    """Give MMD² and its interval from what it is without each row of either part."""
    inner = kernel - np.diag(np.diag(kernel))
    n = len(kernel) - m
    xx, yy, xy = inner[:m, :m], inner[m:, m:], inner[:m, m:]
    first, second, across = xx.sum(), yy.sum(), xy.sum()
    value = first / (m * (m - 1)) + second / (n * (n - 1)) - 2 * across / (m * n)
    without_x = (
        (first - 2 * xx.sum(axis=1)) / ((m - 1) * (m - 2))
        + second / (n * (n - 1))
        - 2 * (across - xy.sum(axis=1)) / ((m - 1) * n)
    )
    without_y = (
        first / (m * (m - 1))
        + (second - 2 * yy.sum(axis=1)) / ((n - 1) * (n - 2))
        - 2 * (across - xy.sum(axis=0)) / (m * (n - 1))
    )
    variance = sum((k - 1) * found.var() for k, found in ((m, without_x), (n, without_y)))
    half = Z95 * math.sqrt(float(variance))
    return float(value), (float(value) - half, float(value) + half)


def _planted(rows: Floats, shift: Floats, width: float) -> float:
    """Give MMD² between rows and the same rows moved; a row and its own copy are no pair."""
    m = len(rows)
    own = np.exp(_squares(rows, rows) / (-2 * width**2))
    moved = np.exp(_squares(rows, rows + shift) / (-2 * width**2))
    pairs = m * (m - 1)
    found = 2 * (own.sum() - np.trace(own)) / pairs - 2 * (moved.sum() - np.trace(moved)) / pairs
    return float(found)


def _foreign(kernel: Floats, m: int) -> Ints:
    """Give the rows of the second part that are least like those of the first."""
    return np.argsort(kernel[m:, :m].mean(axis=1), kind="stable")[:_SHOWN]


def _verdict(p_value: float, high: float, planted: float) -> bool | None:
    if p_value <= _LIKELY:
        return True
    return False if high <= planted else None


def _sentence(
    differs: bool | None,
    value: float,
    interval: Interval,
    p_value: float,
    permuted: Floats,
    planted: float,
    margin: float,
) -> str:
    numbers = (
        f"squared discrepancy {value:.2g}, 95% interval {interval[0]:.2g} to {interval[1]:.2g};"
        f" with names permuted {float(permuted.mean()):.1g}, p {p_value:.2g}; a shift of"
        f" {margin:g} standard deviations {planted:.2g}"
    )
    starts = {
        True: "The parts come from different distributions",
        False: "The parts do not differ by more than chance or a little",
        None: "Insufficient evidence whether the parts differ",
    }
    return f"{starts[differs]} ({numbers})."
