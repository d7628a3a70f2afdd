"""Cut rows into train, validation and test parts: at random, stratified, by group, by time.

Plain index arithmetic in NumPy that gives the same parts as scikit-learn's splitters for the same
seed (see the tests), without the second that importing scikit-learn would add to every start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError, UsageError

Indices = npt.NDArray[np.int64]
SplitMode = Literal["random", "stratified", "grouped", "by_time"]


def shuffle_split(count: int, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Cut `count` rows at random into what stays and a held-out part.

    Args:
        count: Number of rows.
        fraction: Share of the held-out part, between 0 and 1; rounded up to whole rows.
        seed: Seed of the permutation.

    Returns:
        Positions of the rows that stay, and of the held-out rows.

    Raises:
        UsageError: One of the parts would be empty.

    Checked against: scikit-learn ShuffleSplit.
    """
    held = _held_out(count, fraction)
    order = np.random.RandomState(seed).permutation(count)
    return order[held:], order[:held]


def stratified_split(
    labels: npt.NDArray[np.int64], fraction: float, seed: int
) -> tuple[Indices, Indices]:
    """Cut rows at random so that every class has its share in both parts.

    Args:
        labels: Class of each row; (N,).
        fraction: Share of the held-out part, between 0 and 1.
        seed: Seed of the draw.

    Returns:
        Positions of the rows that stay, and of the held-out rows.

    Raises:
        UsageError: A part is smaller than the number of classes.
        DataError: A class has one member and cannot be in both parts.

    Checked against: scikit-learn StratifiedShuffleSplit.
    """
    held = _held_out(len(labels), fraction)
    stays = len(labels) - held
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        lonely = classes[counts.argmin()]
        raise DataError(
            f"split: class {lonely} has one member, which cannot be in both parts."
            " Add examples of it, remove it, or split with mode 'random'."
        )
    if min(held, stays) < len(classes):
        raise UsageError(
            f"split: `fraction` must leave every part at least one row per class; got"
            f" {fraction} of {len(labels)} rows for {len(classes)} classes. Use another fraction."
        )
    random = np.random.RandomState(seed)
    members = np.split(np.argsort(codes, kind="mergesort"), np.cumsum(counts)[:-1])
    keep = _shares(counts, stays, random)
    hold = _shares(counts - keep, held, random)
    train: list[Indices] = []
    test: list[Indices] = []
    for rows, kept, out in zip(members, keep, hold, strict=True):
        shuffled = rows.take(random.permutation(len(rows)), mode="clip")
        train.append(shuffled[:kept])
        test.append(shuffled[kept : kept + out])
    return random.permutation(np.concatenate(train)), random.permutation(np.concatenate(test))


def grouped_split(
    groups: Sequence[object] | npt.NDArray[np.generic], fraction: float, seed: int
) -> tuple[Indices, Indices]:
    """Cut rows so that all rows of a group land in the same part.

    Args:
        groups: Group of each row; (N,).
        fraction: Share of the *groups* that is held out, between 0 and 1.
        seed: Seed of the draw.

    Returns:
        Positions of the rows that stay, and of the held-out rows, ascending.

    Raises:
        UsageError: There are too few groups for two parts.

    Checked against: scikit-learn GroupShuffleSplit.
    """
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise UsageError(f"split: `groups` must name at least two groups; got {len(names)}.")
    stays, held = shuffle_split(len(names), fraction, seed)
    return np.flatnonzero(np.isin(codes, stays)), np.flatnonzero(np.isin(codes, held))


def time_split(
    times: Sequence[float] | npt.NDArray[np.generic], fraction: float
) -> tuple[Indices, Indices]:
    """Hold out the latest rows; rows of one instant are never torn apart.

    Args:
        times: When each row happened; (N,), anything that sorts.
        fraction: Share of the held-out part, between 0 and 1.

    Returns:
        Positions of the earlier rows, and of the later rows, each in order of time.

    Raises:
        UsageError: All rows would land in one part.
    """
    values = np.asarray(times)
    order = np.argsort(values, kind="stable")
    cut = len(order) - _held_out(len(order), fraction)
    moved = int(np.searchsorted(values[order], values[order][cut], side="left"))
    if moved == 0:
        raise UsageError(
            "split: `times` must differ enough to cut; the earliest rows are all equal."
        )
    return order[:moved], order[moved:]


def _held_out(count: int, fraction: float) -> int:
    if not 0 < fraction < 1:
        raise UsageError(f"split: `fraction` must lie between 0 and 1; got {fraction}.")
    held = int(np.ceil(fraction * count))
    if held >= count or count < 2:
        raise UsageError(
            f"split: `fraction` must leave both parts at least one row; got {fraction} of {count}."
        )
    return held


def _shares(counts: npt.NDArray[np.int64], total: int, random: np.random.RandomState) -> Indices:
    """Divide `total` over classes by their counts, ties at random (hypergeometric mode)."""
    exact = counts / counts.sum() * total
    floor = np.floor(exact)
    missing = int(total - floor.sum())
    if missing > 0:
        rest = exact - floor
        for value in np.sort(np.unique(rest))[::-1]:
            (tied,) = np.where(rest == value)
            take = min(len(tied), missing)
            floor[random.choice(tied, size=take, replace=False)] += 1
            missing -= take
            if missing == 0:
                break
    shares: Indices = floor.astype(np.int64)
    return shares


def cut(
    count: int,
    *,
    mode: SplitMode = "random",
    valid: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    labels: npt.NDArray[np.int64] | None = None,
    keys: Sequence[object] | npt.NDArray[np.generic] | None = None,
) -> dict[str, Indices]:
    """Cut rows into ``train``, ``valid`` and, if asked, ``test``.

    Args:
        count: Number of rows.
        mode: How rows are drawn.
        valid: Share of all rows for validation.
        test: Share of all rows for the test part; 0 makes none.
        seed: Seed of the draw.
        labels: Class of each row, for mode ``stratified``; (N,).
        keys: Group of each row for mode ``grouped``, or its time for ``by_time``; (N,).

    Returns:
        Positions of the rows of each part. A share refers to groups in mode ``grouped``.

    Raises:
        UsageError: The shares do not fit, or the mode lacks its labels or keys.
        DataError: A class has too few members to be stratified.
    """
    if not (0 < valid < 1 and 0 <= test < 1 and valid + test < 1):
        raise UsageError(
            "split: `valid` and `test` must be shares that leave rows to train on;"
            f" got valid={valid}, test={test}."
        )
    rows = np.arange(count)
    parts: dict[str, Indices] = {}
    shares = [("test", test), ("valid", valid / (1 - test))] if test else [("valid", valid)]
    for name, share in shares:
        kept, held = _cut_once(rows, mode, share, seed, labels, keys)
        parts[name], rows = rows[held], rows[kept]
    return {"train": rows, **parts}


def _cut_once(
    rows: Indices,
    mode: SplitMode,
    share: float,
    seed: int,
    labels: npt.NDArray[np.int64] | None,
    keys: Sequence[object] | npt.NDArray[np.generic] | None,
) -> tuple[Indices, Indices]:
    if mode == "random":
        return shuffle_split(len(rows), share, seed)
    if mode == "stratified":
        if labels is None:
            raise UsageError("split: mode 'stratified' needs class labels. Use mode 'random'.")
        return stratified_split(labels[rows], share, seed)
    if keys is None:
        raise UsageError(f"split: mode {mode!r} needs a column to go by. Name one with `split_by`.")
    chosen = np.asarray(keys)[rows]
    return grouped_split(chosen, share, seed) if mode == "grouped" else time_split(chosen, share)
