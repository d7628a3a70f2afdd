"""The rows that folds are dealt from: the training and the validation part of a source together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...core.errors import RunError, UsageError
from ...data import (
    Examples,
    Splits,
    cut_folds,
    grouped_split,
    shuffle_split,
    stratified_split,
    table_keys,
    time_split,
)
from ...tasks import Source
from ...train import Run
from .._checks import check_same_data
from .._open_run import splits_again

Rows = npt.NDArray[np.int64]
FoldMode = Literal["random", "stratified", "grouped", "by_time"]


@final
@dataclass(frozen=True, kw_only=True)
class Pool:
    """Examples to be dealt to folds.

    Args:
        examples: The training part, then the validation part.
        test: The test part of the source, which stays out.
        mode: How rows are dealt.
        keys: Group or time of each row, where the mode goes by one.
        seed: Of the draws.
        how: How the parts of the source were made.
    """

    examples: Examples
    test: Examples | None
    mode: FoldMode
    keys: npt.NDArray[np.generic] | None
    seed: int
    how: str

    @classmethod
    def of(cls, data: Source, split: str | None, seed: int) -> Pool:
        """Merge the training and the validation part of a source.

        Args:
            data: The source.
            split: How folds are dealt; None as the parts were, and without a choice there
                stratified for classes and at random for numbers.
            seed: Of the draws.

        Raises:
            UsageError: There is nothing to deal the rows by, or they do not fit in memory.
        """
        asked = split if split not in (None, "auto", "given") else data.reader.get("mode")
        if asked is None and data.reader.get("split_by") is not None:
            asked = "grouped"
        by_class = data.splits.schema.target_kind == "class"
        plain: FoldMode = "stratified" if by_class else "random"
        mode = plain if asked in (None, "auto", "given") else cast(FoldMode, asked)
        if mode == "stratified" and not by_class:
            raise UsageError(
                "crossval: `split` must not be 'stratified' when the target is a number. Use"
                " 'random'."
            )
        return cls(
            examples=merged(data.splits),
            test=_named(data.splits),
            mode=mode,
            keys=_keys(data, mode) if mode in ("grouped", "by_time") else None,
            seed=seed,
            how=data.splits.how,
        )

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def labels(self) -> Rows | None:
        """Class of each row; None for numbers."""
        targets = self.examples.targets
        return None if targets is None or targets.is_floating_point() else targets.cpu().numpy()

    def among(self, rows: Rows, seed: int) -> Pool:
        """Give the pool of some rows alone, for folds within folds.

        Args:
            rows: Their positions.
            seed: Of the draws within.
        """
        keys = None if self.keys is None else self.keys[rows]
        chosen = self.examples.select(torch.from_numpy(rows))
        return replace(self, examples=chosen, keys=keys, seed=seed)

    def folds(self, folds: int, repeats: int = 1) -> list[tuple[Rows, Rows]]:
        """Deal the rows.

        Args:
            folds: Number of folds.
            repeats: How often the rows are dealt anew.

        Raises:
            UsageError: The rows do not suffice.
        """
        return cut_folds(
            len(self),
            folds=folds,
            repeats=repeats,
            mode=self.mode,
            seed=self.seed,
            labels=self.labels,
            keys=self.keys,
        )

    def notes(self, plan: Sequence[tuple[Rows, Rows]], folds: int) -> tuple[str, ...]:
        """Say what the score of folds leaves out.

        Args:
            plan: From `folds`.
            folds: Folds of one repeat.
        """
        held = np.unique(np.concatenate([rows for _, rows in plan]))
        found = []
        if left := len(self) - len(held):
            found.append(
                f"the first {left:,} of {len(self):,} rows are never held out: each fold comes"
                " after the rows that it is trained on"
            )
        if self.mode == "stratified" and self.labels is not None:
            names, counts = self.examples.schema.class_names, np.bincount(self.labels)
            found += [
                f"class {names[code]!r} has {rows} rows for {folds} folds: some folds hold out none"
                " of it"
                for code, rows in enumerate(counts.tolist())
                if 0 < rows < folds
            ]
        return tuple(found)

    def parts(self, stays: Rows, held: Rows, inner: float, seed: int) -> dict[str, Rows]:
        """Give the rows of each part of the training that holds out some rows.

        Args:
            stays: Rows that are trained on.
            held: Rows that are held out.
            inner: Share of `stays` that the epoch is chosen by; 0 leaves that to `held`.
            seed: Of the draw of the inner rows.

        Returns:
            Parts ``train`` and ``valid``, and with inner rows the held-out ones as ``test``.
        """
        if inner == 0:
            return {"train": stays, "valid": held}
        kept, chosen = self._cut(stays, inner, seed)
        return {"train": stays[kept], "valid": stays[chosen], "test": held}

    def _cut(self, rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
        keys = None if self.keys is None else self.keys[rows]
        if keys is not None and self.mode == "by_time":
            return time_split(cast(Any, keys), share)
        if keys is not None and len(np.unique(keys)) > 1:
            return grouped_split(cast(Any, keys), share, seed)
        labels = self.labels
        if self.mode == "stratified" and labels is not None:
            counts = np.unique(labels[rows], return_counts=True)[1]
            if counts.min() > 1 and share * len(rows) >= len(counts):
                return stratified_split(labels[rows], share, seed)
        return shuffle_split(len(rows), share, seed)

    def splits(self, parts: dict[str, Rows], how: str) -> Splits:
        """Give the examples of a training.

        Args:
            parts: From `parts`.
            how: How they were made, in a few words.
        """
        made = {name: self.examples.select(torch.from_numpy(rows)) for name, rows in parts.items()}
        return Splits(
            train=made["train"],
            valid=made["valid"],
            test=made.get("test", self.test),
            indices={name: tuple(rows.tolist()) for name, rows in parts.items()},
            how=f"{how} of: {self.how}",
        )


def merged(splits: Splits) -> Examples:
    """Put the training and the validation part together.

    Args:
        splits: The parts.

    Raises:
        UsageError: They do not fit in memory.
    """
    one, two = splits.train, splits.valid
    if not (isinstance(one.inputs, Tensor) and isinstance(two.inputs, Tensor)):
        raise UsageError(
            "crossval: `source` must fit in memory, since its parts are dealt anew; this one is"
            " read from disk. Use fewer examples, or train with --valid."
        )
    if one.targets is None or two.targets is None:
        raise UsageError("crossval: `source` must hold targets; got none.")
    return replace(
        one,
        inputs=torch.cat([one.inputs, two.inputs]),
        targets=torch.cat([one.targets, two.targets]),
        ids=_ids(splits),
    )


def _named(splits: Splits) -> Examples | None:
    """Give the test part with names as the pool has them: where its rows are in the source."""
    test, rows = splits.test, splits.indices.get("test", ())
    if test is None or test.ids is not None or len(rows) != len(test) or _ids(splits) is None:
        return test
    return replace(test, ids=tuple(map(str, rows)))


def _ids(splits: Splits) -> tuple[str, ...] | None:
    """Give names of the rows, or where they are in the source; None if neither is known."""
    one, two = splits.train, splits.valid
    if one.ids is not None and two.ids is not None:
        return (*one.ids, *two.ids)
    rows = [splits.indices.get(part, ()) for part in ("train", "valid")]
    if (len(rows[0]), len(rows[1])) == (len(one), len(two)):
        return tuple(str(row) for part in rows for row in part)
    return None


def _keys(data: Source, mode: FoldMode) -> npt.NDArray[np.generic]:
    """Give the group or the time of each row of the pool."""
    split_by, splits = data.reader.get("split_by"), data.splits
    rows = [splits.indices.get(part, ()) for part in ("train", "valid")]
    if split_by is None or (len(rows[0]), len(rows[1])) != (len(splits.train), len(splits.valid)):
        raise UsageError(
            f"crossval: `split` {mode!r} needs `split_by`, and parts that are cut from one source;"
            f" got split_by={split_by!r}. Leave out valid_path and smoke, or use 'random'."
        )
    if data.name == "table" and data.path is not None:
        keys = table_keys(
            data.path,
            split_by,
            cast(Literal["grouped", "by_time"], mode),
            on_bad_row=data.reader.get("on_bad_row", "stop"),
        )
    elif isinstance(split_by, str):
        raise UsageError(
            f"crossval: `split` {mode!r} must go by a column of a table, or by values given from"
            f" Python; got split_by={split_by!r} for {data.name}. Use --split random."
        )
    else:
        keys = np.asarray(split_by)
    return keys[np.array([*rows[0], *rows[1]], dtype=np.int64)]


def own_splits(run: Run, data: Any = None, *, owner: str) -> Splits:
    """Read the data of a run again, cut as it was trained on, and make sure that it is the same.

    Args:
        run: The run.
        data: The data, if it was in memory or is somewhere else now.
        owner: The verb, for messages.

    Raises:
        UsageError: The data was in memory and is not given.
        DataError: The data is bad.
        RunError: The data has changed, or the rows of a fold cannot be read.
    """
    splits = as_trained(run, splits_again(run, data, owner=owner))
    check_same_data(run, splits)
    return splits


def as_trained(run: Run, splits: Splits) -> Splits:
    """Give the parts that a run was trained on: those of its source, or its fold of them.

    Args:
        run: The run.
        splits: The parts of its source.

    Raises:
        RunError: The rows of the fold cannot be read.
    """
    if run.manifest.get("rows") != "pool":
        return splits
    pool = merged(splits)
    try:
        with np.load(run.folder / "split.npz", allow_pickle=False) as file:
            rows = {part: torch.from_numpy(file[part].astype(np.int64)) for part in file.files}
        made = {part: pool.select(places) for part, places in rows.items()}
        return replace(
            splits,
            train=made["train"],
            valid=made["valid"],
            test=made.get("test", splits.test),
            indices={part: tuple(places.tolist()) for part, places in rows.items()},
        )
    except (OSError, ValueError, KeyError, EOFError, IndexError) as err:
        raise RunError(
            f"{run.folder}: split.npz cannot be read or does not fit the data ({err}). Restore it"
            " from a copy."
        ) from err
