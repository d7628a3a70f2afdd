"""Deal rows to folds, so that each is held out once: at random, stratified, by group, by time.

Plain index arithmetic in NumPy that gives the same folds as scikit-learn's splitters for the same
seed (see the tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import UsageError
from ._splits import Indices, SplitMode

Fold = tuple[Indices, Indices]
"""Positions of the rows that stay, and of the held-out rows, both ascending."""


def cut_folds(
    count: int,
    *,
    folds: int,
    repeats: int = 1,
    mode: SplitMode = "random",
    seed: int = 0,
    labels: npt.NDArray[np.int64] | None = None,
    keys: Sequence[object] | npt.NDArray[np.generic] | None = None,
) -> list[Fold]:
    """Deal rows to folds of which each is held out once, for cross-validation.

    For data too small to spare a validation part, and to see how much a score depends on the rows
    that were held out. Use `cut` for a single division. As many folds as rows leave one out each
    time. In mode `by_time` each fold follows the rows that stay, so the earliest are never held
    out.

    Args:
        count: Number of rows.
        folds: Number of folds.
        repeats: How often the rows are dealt anew; the repeats of one seed differ.
        mode: How rows are dealt.
        seed: Seed of the draw.
        labels: Class of each row, for mode `stratified`; (N,).
        keys: Group of each row for mode `grouped`, or its time for `by_time`; (N,).

    Returns:
        For each fold, repeat by repeat: positions of the rows that stay, and of those held out.

    Raises:
        UsageError: There are not enough rows, classes or groups, or the mode lacks its labels or
            keys.

    Source: stone1974crossvalidatory.
    Checked against: scikit-learn KFold, StratifiedKFold, GroupKFold, TimeSeriesSplit, LeaveOneOut,
        RepeatedKFold and RepeatedStratifiedKFold.
    """
    if not 2 <= folds <= count:
        raise UsageError(
            f"crossval: `folds` must lie in 2 ... the number of rows, {count}; got {folds}."
            " Use 5 or 10."
        )
    if repeats < 1 or (repeats > 1 and mode == "by_time"):
        raise UsageError(
            f"crossval: `repeats` must be at least 1, and 1 for folds by time; got {repeats}."
        )
    if mode == "by_time":
        return _time_folds(_needed(keys, mode), folds)
    random = np.random.RandomState(seed)
    found = []
    for _ in range(repeats):
        if mode == "grouped":
            places = _grouped(_needed(keys, mode), folds, random)
        elif mode == "stratified" and folds < count:
            places = _stratified(_needed(labels, mode), folds, random)
        else:
            places = _shuffled(count, folds, random)
        found += [
            (np.flatnonzero(places != fold), np.flatnonzero(places == fold))
            for fold in range(folds)
        ]
    return found


def _needed(values: Any, mode: str) -> npt.NDArray[Any]:
    if values is None:
        what = "class labels" if mode == "stratified" else "a column to go by"
        raise UsageError(f"crossval: `split` {mode!r} needs {what}; got none. Use 'random'.")
    return np.asarray(values)


def _shuffled(count: int, folds: int, random: np.random.RandomState) -> Indices:
    """Give the fold of each row; sizes differ by one at most."""
    order = np.arange(count)
    random.shuffle(order)
    places = np.empty(count, dtype=np.int64)
    for fold, rows in enumerate(np.array_split(order, folds)):
        places[rows] = fold
    return places


def _stratified(labels: npt.NDArray[Any], folds: int, random: np.random.RandomState) -> Indices:
    """Give the fold of each row; every class is spread over the folds as evenly as it can be."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    codes = np.argsort(np.argsort(first))[codes]  # in the order in which classes appear
    counts = np.bincount(codes)
    if counts.max() < folds:
        raise UsageError(
            f"crossval: `folds` must be at most {counts.max()}, the members of the largest class;"
            f" got {folds}. Use fewer folds, or split 'random'."
        )
    # Dealt like cards, class by class: each fold gets its share, and the sizes stay even.
    dealt = np.sort(codes)
    shares = [np.bincount(dealt[fold::folds], minlength=len(counts)) for fold in range(folds)]
    places = np.empty(len(codes), dtype=np.int64)
    for code, share in enumerate(np.transpose(shares)):
        mixed = np.repeat(np.arange(folds), share)
        random.shuffle(mixed)
        places[codes == code] = mixed
    return places


def _grouped(groups: npt.NDArray[Any], folds: int, random: np.random.RandomState) -> Indices:
    """Give the fold of each row; rows of a group share it, and folds have as many groups."""
    names, codes = np.unique(groups, return_inverse=True)
    if len(names) < folds:
        raise UsageError(
            f"crossval: `folds` must be at most the number of groups, {len(names)}; got {folds}."
            " Use fewer folds."
        )
    of_group = np.empty(len(names), dtype=np.int64)
    for fold, chosen in enumerate(np.array_split(random.permutation(len(names)), folds)):
        of_group[chosen] = fold
    return of_group[codes]


def _time_folds(times: npt.NDArray[Any], folds: int) -> list[Fold]:
    """Hold out block after block of later rows; rows of one instant are never torn apart."""
    order = np.argsort(times, kind="stable")
    values = times[order]
    if folds >= len(order):
        raise UsageError(
            f"crossval: `folds` must be at most {len(order) - 1} by time, one less than rows, since"
            f" the first stretch is only trained on; got {folds}."
        )
    size = len(order) // (folds + 1)
    cuts = [len(order) - size * left for left in range(folds, -1, -1)]
    cuts = [int(np.searchsorted(values, values[cut], side="left")) for cut in cuts[:-1]]
    cuts.append(len(order))
    if cuts[0] == 0 or any(a == b for a, b in pairwise(cuts)):
        raise UsageError(
            f"crossval: `folds` must leave rows in each stretch of time; got {folds} for"
            f" {len(np.unique(times))} different times. Use fewer folds."
        )
    return [(np.sort(order[:cut]), np.sort(order[cut:end])) for cut, end in pairwise(cuts)]
