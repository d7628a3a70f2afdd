"""Examples of any kind as rows of numbers, for classical classifiers and comparisons.

N examples, F features, C channels, H W height width, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import UsageError
from ..data import Examples
from ..data._stream import chunks
from ._sandbox import sandbox

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Data = Any
"""`Examples`, an array or tensor of inputs, or a pair of inputs and targets."""

GRID: Final = 8
_CHUNK: Final = 1024
_STATISTICS: Final = ("mean", "std", "smallest", "largest", "contrast of neighbours")


@final
@dataclass(frozen=True, kw_only=True)
class Rows:
    """Examples as rows.

    Args:
        values: (N, F); missing values are NaN.
        names: Of the columns.
        targets: (N,) class indices or numbers, if they are known.
        is_class: Whether the targets are classes.
    """

    values: Floats
    names: tuple[str, ...]
    targets: npt.NDArray[Any] | None
    is_class: bool


def inputs_and_targets(owner: str, data: Data) -> tuple[Any, Any]:
    """Give inputs and targets as they are stored.

    Args:
        owner: Who asks, for errors.
        data: `Examples`, inputs, or a pair.
    """
    inputs, targets = data, None
    if isinstance(data, Examples):
        inputs, targets = data.inputs, data.targets
    elif isinstance(data, (tuple, list)) and len(data) == 2:
        inputs, targets = data
    if not hasattr(inputs, "shape"):
        inputs = np.asarray(inputs)
    if len(inputs.shape) < 2 or len(inputs) == 0:
        raise UsageError(
            f"{owner}: `data` must be examples, an array (N, ...) or a pair of inputs and targets;"
            f" got shape {tuple(inputs.shape)}. Give one row per example."
        )
    return inputs, None if targets is None else _array(targets)


def _array(targets: Any) -> npt.NDArray[Any]:
    """Give targets as an array, wherever a tensor of them lies and whatever it remembers."""
    if not isinstance(targets, Tensor):
        return np.asarray(targets)
    found: npt.NDArray[Any] = _known_to_numpy(targets.detach().cpu()).numpy()
    return found


def _known_to_numpy(values: Tensor) -> Tensor:
    return values.float() if values.dtype == torch.bfloat16 else values


def drawn(count: int, most: int, seed: int) -> Ints:
    """Draw rows without replacement, in ascending order; all if there are few.

    Args:
        count: Rows there are.
        most: Rows wanted at most.
        seed: Of the draw.
    """
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def rows_of(owner: str, data: Data, places: Ints, model: nn.Module | None = None) -> Rows:
    """Give some examples as rows of numbers.

    Args:
        owner: Who asks, for errors.
        data: `Examples`, inputs, or a pair of inputs and targets.
        places: Which examples, ascending.
        model: Gives the features; None takes the inputs: tables as they are, pictures as means
            over at most 8 x 8 fields and some statistics.
    """
    inputs, targets = inputs_and_targets(owner, data)
    some = taken(inputs, places)
    if model is not None:
        values, names = _features(model, some)
    elif some.ndim == 4:
        values, names = _picture_rows(some)
    else:
        values = some.reshape(len(some), -1).double().numpy()
        names = tuple(f"column {n}" for n in range(values.shape[1]))
        if isinstance(data, Examples) and len(data.schema.columns) == len(names):
            names = tuple(column.name for column in data.schema.columns)
    labels = None if targets is None else targets[places]
    is_class = labels is not None and labels.dtype.kind in "iub"
    return Rows(values=values, names=names, targets=labels, is_class=is_class)


def taken(inputs: Any, places: Ints) -> Tensor:
    """Give the inputs at some places, in memory.

    Args:
        inputs: An array, a tensor, or rows on disk.
        places: Which, ascending.
    """
    if isinstance(inputs, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(inputs[places]))
    if isinstance(inputs, Tensor):
        return _known_to_numpy(inputs.detach()[torch.from_numpy(places)].cpu())
    return torch.cat(list(chunks(inputs.take(torch.from_numpy(places)), _CHUNK)))


def _features(model: nn.Module, inputs: Tensor) -> tuple[Floats, tuple[str, ...]]:
    """Give what a copy of a model makes of the inputs, in evaluation mode."""
    with sandbox(model) as (made,):
        found = answers_to(made.eval(), inputs).flatten(1)
    values = found.double().cpu().numpy()
    return values, tuple(f"feature {n}" for n in range(values.shape[1]))


def answers_to(model: nn.Module, inputs: Tensor) -> Tensor:
    """Give what a model says, in the mode that it is in, a part of the inputs at a time.

    Args:
        model: Gets inputs where its parameters lie; numbers also in their type.
        inputs: (N, ...), as they are stored.
    """
    own = next(model.parameters(), None)
    found = []
    with torch.no_grad():
        for part in torch.split(inputs, _CHUNK):
            given = as_floats(part)
            if own is not None:
                fits = given.is_floating_point() and own.is_floating_point()
                given = given.to(own.device, own.dtype if fits else given.dtype)
            found.append(model(given))
    return torch.cat(found)


def as_floats(inputs: Tensor) -> Tensor:
    """Give inputs as batches have them: bytes as floats in [0, 1].

    Args:
        inputs: As they are stored.
    """
    return inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs


def fields(pictures: Tensor, grid: int = GRID) -> Tensor:
    """Give the means over at most so many fields across and down; (N, C, h, w).

    Args:
        pictures: (N, C, H, W).
        grid: Fields across and down.
    """
    size = (min(grid, pictures.shape[2]), min(grid, pictures.shape[3]))
    parts = [
        F.adaptive_avg_pool2d(as_floats(p).float(), size) for p in torch.split(pictures, _CHUNK)
    ]
    return torch.cat(parts)


def _picture_rows(pictures: Tensor) -> tuple[Floats, tuple[str, ...]]:
    means = fields(pictures)
    _, channels, high, wide = means.shape
    flat = [as_floats(part).float().flatten(1) for part in torch.split(pictures, _CHUNK)]
    rough = [
        (as_floats(part).float().diff(dim=3).square().mean(dim=(1, 2, 3)).sqrt())
        for part in torch.split(pictures, _CHUNK)
    ]
    whole = torch.cat(flat)
    facts = [whole.mean(1), whole.std(1), whole.amin(1), whole.amax(1), torch.cat(rough)]
    values = torch.cat([means.flatten(1), torch.stack(facts, dim=1)], dim=1)
    places = [
        f"field {row},{column} of channel {channel}"
        for channel in range(channels)
        for row in range(high)
        for column in range(wide)
    ]
    return values.double().numpy(), (*places, *_STATISTICS)
