"""From what the user names to a task and its parts: a built-in set, files, or data in memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import torch
from torch.utils.data import Dataset

from ..core.errors import UnknownName, UsageError, unknown_name
from ..data import (
    BUILTIN,
    Examples,
    Splits,
    from_dataset,
    load_arrays,
    load_builtin,
    load_images,
    load_table,
)
from ._supervised import TASKS, SupervisedTask

_TABLES: Final = (".csv", ".tsv", ".txt", ".parquet", ".csv.gz", ".tsv.gz")
_IN_MEMORY: Final = "memory"


@final
@dataclass(frozen=True, kw_only=True)
class Source:
    """Data that was found and read.

    Args:
        task: What to do with it.
        splits: Its parts.
        name: ``images``, ``table``, ``arrays``, ``memory`` or the name of a built-in set.
        path: Where it is, if it is the user's own.
        reader: Arguments of the reader that differ from its defaults.
    """

    task: SupervisedTask
    splits: Splits
    name: str
    path: str | None
    reader: Mapping[str, Any]


def open_source(
    source: Any,
    path: str | Path | None = None,
    reader: Mapping[str, Any] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Find and read what to learn from.

    Args:
        source: Name of a built-in set; ``images``, ``table`` or ``arrays`` together with a path; a
            path alone; or `Splits`, a pair of arrays or a map-style data set.
        path: Where the user's own data is.
        reader: Arguments for the reader; None stands for its default.
        progress: Told how many images are decoded, of how many.

    Raises:
        UsageError: An argument does not fit the source.
        UnknownName: Nothing of that name.
        DataError: The data is bad.
    """
    chosen = {key: value for key, value in (reader or {}).items() if value is not None}
    if not isinstance(source, (str, Path)):
        splits = _from_memory(source, chosen)
        return Source(
            task=_task_of(splits), splits=splits, name=_IN_MEMORY, path=None, reader=chosen
        )
    name, place = _resolve(source, path)
    if place is None:
        splits = _call(load_builtin, name, chosen, name)
    else:
        readers: dict[str, Callable[..., Splits]] = {
            "images": _watched(progress),
            "table": load_table,
            "arrays": load_arrays,
        }
        if name == "table" and "target" not in chosen:
            raise UsageError(
                "train: `target` must name the column to predict. Add --target COLUMN."
            )
        splits = _call(readers[name], place, chosen, name)
    return Source(
        task=_task_of(splits),
        splits=splits,
        name=name,
        path=None if place is None else str(Path(place).resolve()),
        reader=chosen,
    )


def _watched(progress: Callable[[int, int], None] | None) -> Callable[..., Splits]:
    return load_images if progress is None else partial(load_images, progress=progress)


def _task_of(splits: Splits) -> SupervisedTask:
    return TASKS[splits.schema.kind]


def _resolve(source: str | Path, path: str | Path | None) -> tuple[str, Path | None]:
    """Give the reader's name and the path; a built-in set has no path."""
    word = str(source)
    if word in ("images", "table", "arrays"):
        if path is None:
            raise UsageError(
                f"train: `path` must follow {word!r}, as in: fitwell train {word} PATH"
            )
        return word, Path(path)
    if path is not None:
        raise unknown_name("train", "kind of data", word, ("images", "table", "arrays"))
    place = Path(source)
    if place.is_dir():
        return "images", place
    if word.lower().endswith(_TABLES):
        return "table", place
    if word.lower().endswith(".npz"):
        return "arrays", place
    if place.exists() or "/" in word.split(":")[0]:
        problem = "none of them" if place.exists() else "not there"
        raise UsageError(
            f"train: `source` must be a folder of images, a table ({', '.join(_TABLES)}) or an"
            f" .npz file; got {word!r}, which is {problem}. Check the path."
        )
    return word, None


def _call(load: Callable[..., Splits], place: Any, chosen: Mapping[str, Any], name: str) -> Splits:
    taken = inspect.signature(load).parameters
    for key, value in chosen.items():
        if key not in taken:
            raise UsageError(
                f"train: `{_typed(key)}` must be left out for {name!r}, whose reader has no such"
                f" choice; got {value!r}."
            )
    try:
        return load(place, **chosen)
    except UnknownName as err:
        if load is not load_builtin or "/" in str(place):
            raise
        known = [*BUILTIN, "images", "table", "arrays"]
        raise unknown_name("train", "data set, folder or file", str(place), known) from err


def _typed(name: str) -> str:
    """Give the option of `train` for an argument of a reader."""
    return {"seed": "split_seed", "mode": "split"}.get(name, name)


def _from_memory(source: Any, chosen: Mapping[str, Any]) -> Splits:
    if isinstance(source, Splits):
        if chosen:
            name = _typed(next(iter(chosen)))
            raise UsageError(f"train: `{name}` must be left out when `source` is already split.")
        return source
    if isinstance(source, Dataset):
        examples = from_dataset(source)
        source = (examples.inputs, examples.targets)
    if isinstance(source, tuple) and len(source) == 2:
        return load_arrays(*source, **chosen)
    raise UsageError(
        "train: `source` must be the name of a data set, a path, Splits, a pair of arrays (x, y) or"
        f" a map-style Dataset; got {type(source).__name__}."
    )


def smoke(splits: Splits) -> Splits:
    """Keep a hundredth of each part, and at least 32 examples, for trying out the pipeline.

    Args:
        splits: The whole data.
    """
    return replace(
        splits,
        train=_fewer(splits.train),
        valid=_fewer(splits.valid),
        test=None if splits.test is None else _fewer(splits.test),
        indices={},
        how=f"{splits.how}; smoke: a hundredth of it",
    )


def _fewer(examples: Examples) -> Examples:
    count = min(len(examples), max(32, len(examples) // 100))
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0))
    return examples.select(order[:count])
