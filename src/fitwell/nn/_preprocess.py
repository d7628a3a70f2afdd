"""Scaling as part of the model, so that a saved model takes raw inputs and gives raw outputs.

Statistics are fitted on the training part only and kept as buffers; gradients do not change them.

Axes: B batch, C channels, H W height width, F columns or features, N examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self, final

import torch
from torch import Tensor, nn

from ..core.errors import UsageError

# Values that statistics are summed over at a time, to bound the float64 copy.
_CHUNK_VALUES = 2**21
# Spread relative to the mean below which a float32 column holds one value and rounding.
_CONSTANT = 1e-7


class _Rows(Protocol):
    """A tensor, or rows on disk, which give a tensor when they are cut."""

    @property
    def shape(self) -> Sequence[int]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def device(self) -> torch.device: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Tensor: ...


def _check_scale(owner: str, mean: Sequence[float], std: Sequence[float]) -> None:
    if len(mean) != len(std):
        raise UsageError(
            f"{owner}: `std` must have one entry per entry of `mean`; got {len(std)} for"
            f" {len(mean)}. Give both from the same data."
        )
    for value in std:
        if not (0 < value < math.inf):
            raise UsageError(
                f"{owner}: `std` must be positive and finite; got {value}."
                " Use 1 for a constant column."
            )
    for value in mean:
        if not math.isfinite(value):
            raise UsageError(
                f"{owner}: `mean` must be finite; got {value}. Leave out missing values."
            )


def _chunks(values: _Rows) -> Iterator[Tensor]:
    """Give the values in float64, some rows at a time; bytes count as numbers in [0, 1]."""
    unit = 255.0 if values.dtype == torch.uint8 else 1.0
    rows = max(1, _CHUNK_VALUES // max(1, math.prod(values.shape[1:])))
    for start in range(0, len(values), rows):
        yield values[start : start + rows].to(torch.float64) / unit


def _mean_std(values: _Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, standard deviation and count of the values of each column (axis 1) that are not NaN."""
    columns = values.shape[1]
    count = torch.zeros(columns, dtype=torch.float64, device=values.device)
    total = torch.zeros_like(count)
    spread = torch.zeros_like(count)
    axes = [axis for axis in range(values.ndim) if axis != 1]
    for chunk in _chunks(values):
        count += (~chunk.isnan()).sum(axes)
        total += chunk.nansum(axes)
    mean = total / count.clamp(min=1)
    shape = [1, columns] + [1] * (values.ndim - 2)
    for chunk in _chunks(values):
        spread += (chunk - mean.view(shape)).square().nansum(axes)
    std = (spread / count.clamp(min=1)).sqrt()
    constant = std <= _CONSTANT * mean.abs()
    return mean, std.masked_fill(constant | (std == 0), 1.0), count


@final
class Normalize(nn.Module):
    """Shift and scale each channel of images, or each column of a table, to mean 0 and spread 1.

    The first layer of a model, so that attacks and explanations see raw pixels.

        y = (x - mean) / std

    Args:
        mean: What is taken away, per channel or column.
        std: What is divided by, per channel or column.

    Shapes:
        x: (B, C, H, W)
        return: (B, C, H, W)

    Raises:
        UsageError: Lengths differ, or a number is not finite, or a spread is not positive.

    Source: lecun1998efficient, section 4.3.
    Reduces to: the identity at mean 0 and spread 1.
    Checked against: numpy mean and std.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        _check_scale("Normalize", mean, std)
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32))

    @classmethod
    def fit(cls, inputs: _Rows) -> Self:
        """Take mean and standard deviation from training inputs; a constant one is divided by 1.

        Args:
            inputs: Training inputs; bytes count as numbers in [0, 1], as batches give them.

        Shapes:
            inputs: (N, C, ...)
        """
        mean, std, _ = _mean_std(inputs)
        return cls(mean.tolist(), std.tolist())

    def forward(self, x: Tensor) -> Tensor:
        """Give the scaled batch."""
        if x.ndim < 2 or x.shape[1] != len(self.mean):
            raise UsageError(
                f"Normalize: `x` must have {len(self.mean)} channels at axis 1; got shape"
                f" {tuple(x.shape)}. Fit it on data of the same kind."
            )
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return (x - self.mean.view(shape)) / self.std.view(shape)


@final
class Unscale(nn.Module):
    """Bring the outputs of a regression model back to the unit of the targets.

    The last layer: the body then works with numbers around 0 and of size 1, whatever the unit. One
    output per example comes out as (B,), the shape of its targets.

        y = x · std + mean

    Args:
        mean: Mean of the training targets.
        std: Standard deviation of the training targets.

    Shapes:
        x: (B, 1)
        return: (B,)

    Raises:
        UsageError: A number is not finite, or the spread is not positive.

    Source: lecun1998efficient, section 4.3, applied to targets.
    Reduces to: dropping the axis of size 1, at mean 0 and spread 1.
    Checked against: the inverse of `Normalize`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        _check_scale("Unscale", [mean], [std])
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    @classmethod
    def fit(cls, targets: Tensor) -> Self:
        """Take mean and standard deviation from training targets; a constant one is divided by 1.

        Args:
            targets: Training targets.

        Shapes:
            targets: (N,)
        """
        mean, std, _ = _mean_std(targets.reshape(-1, 1))
        return cls(mean.item(), std.item())

    def forward(self, x: Tensor) -> Tensor:
        """Give the outputs in the unit of the targets."""
        if x.ndim == 2 and x.shape[1] == 1:
            x = x.squeeze(1)
        return x * self.std + self.mean


def embedding_dim(cardinality: int) -> int:
    """Give a size for the embedding of a category: it grows with about the root of its values.

    Args:
        cardinality: Different values of the category.

    Source: guo2016entity; the rule is that of the fastai library, min(50, round(1.6 k^0.56)).
    Checked against: values worked out by hand.
    """
    return max(1, min(50, round(1.6 * math.pow(cardinality, 0.56))))


@final
class TableEncoder(nn.Module):
    """Turn the rows of a table into numbers that a network can learn from.

    Numbers are standardized and missing ones become 0, the mean; a column that had missing numbers
    in training gets a second feature that says where. Categories are looked up in learned tables;
    code 0 (missing or unseen) starts as zeros, so that a value never seen in training says nothing.

    The order of the features is: numbers, indicators of missing numbers, categories.

    Args:
        cardinalities: Per column, 0 for a number, or how many codes a category has, code 0
            included.
        mean: Means of the number columns, in their order.
        std: Standard deviations of the number columns.
        missing: Which number columns get an indicator; empty for none.
        embedding_dims: Sizes of the category embeddings, in their order; None uses `embedding_dim`.
        clip: Standardized numbers are cut off at this distance from 0; None disables.

    Shapes:
        x: (B, F)
        return: (B, out_features)

    Raises:
        UsageError: The arguments do not agree with each other.

    Source: guo2016entity for the categories.
    Reduces to: `Normalize` when all columns are numbers and none is missing.
    Checked against: scikit-learn's StandardScaler, SimpleImputer and MissingIndicator.
    """

    mean: Tensor
    std: Tensor
    numbers: Tensor
    missing: Tensor

    def __init__(
        self,
        cardinalities: Sequence[int],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        missing: Sequence[bool] = (),
        embedding_dims: Sequence[int] | None = None,
        clip: float | None = None,
    ) -> None:
        super().__init__()
        self.cardinalities = tuple(int(size) for size in cardinalities)
        numbers = [column for column, size in enumerate(self.cardinalities) if not size]
        self._categories = [column for column, size in enumerate(self.cardinalities) if size]
        sizes = [self.cardinalities[column] for column in self._categories]
        dims = [embedding_dim(k) for k in sizes] if embedding_dims is None else list(embedding_dims)
        flags = [bool(flag) for flag in missing] or [False] * len(numbers)
        _check_scale("TableEncoder", mean, std)
        self._check(numbers, mean, flags, dims, clip)
        self.clip = clip
        self.embedding_dims = tuple(dims)
        indicated = [place for place, flag in enumerate(flags) if flag]
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32))
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.int64), persistent=False)
        self.register_buffer(
            "missing", torch.tensor(indicated, dtype=torch.int64), persistent=False
        )
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, dim) for size, dim in zip(sizes, dims, strict=True)
        )
        for table in self.embeddings:
            nn.init.zeros_(table.weight[:1])  # type: ignore[index]
        self.in_features = len(self.cardinalities)
        self.out_features = len(numbers) + len(indicated) + sum(dims)

    def _check(
        self,
        numbers: Sequence[int],
        mean: Sequence[float],
        flags: Sequence[bool],
        dims: Sequence[int],
        clip: float | None,
    ) -> None:
        if not self.cardinalities or min(self.cardinalities) < 0:
            raise UsageError(
                "TableEncoder: `cardinalities` must name at least one column, none below 0; got"
                f" {self.cardinalities}. Use 0 for a number."
            )
        wanted = {"mean": (len(mean), len(numbers)), "missing": (len(flags), len(numbers))}
        wanted["embedding_dims"] = (len(dims), len(self._categories))
        for name, (got, want) in wanted.items():
            if got != want:
                raise UsageError(
                    f"TableEncoder: `{name}` must have {want} entries; got {got}."
                    f" The columns are {len(numbers)} numbers, {len(self._categories)} categories."
                )
        if clip is not None and not clip > 0:
            raise UsageError(
                f"TableEncoder: `clip` must be above 0; got {clip}. Use None for none."
            )

    @classmethod
    def fit(cls, inputs: _Rows, cardinalities: Sequence[int], *, clip: float | None = None) -> Self:
        """Take the statistics of every column from training inputs.

        Args:
            inputs: Training inputs; missing numbers are NaN, categories are codes.
            cardinalities: Per column, 0 for a number, or how many codes a category has, code 0
                included.
            clip: As in the class.

        Shapes:
            inputs: (N, F)

        Raises:
            UsageError: A category has a code outside its range, or an infinite number was found.
        """
        if inputs.ndim != 2 or inputs.shape[1] != len(cardinalities):
            raise UsageError(
                f"TableEncoder.fit: `inputs` must have shape (N, {len(cardinalities)}); got"
                f" {tuple(inputs.shape)}. Give one cardinality per column."
            )
        numbers = [column for column, size in enumerate(cardinalities) if not size]
        for column, size in enumerate(cardinalities):
            codes = inputs[:, column] if size else torch.empty(0)
            if len(codes) and not bool(((codes >= 0) & (codes < size)).all()):
                raise UsageError(
                    f"TableEncoder.fit: `cardinalities` must exceed every code; got {size} for"
                    f" column {column} with codes from {codes.min():g} to {codes.max():g}."
                    " Count code 0 (missing or unseen) as well."
                )
        values = inputs[:, numbers] if len(numbers) < len(cardinalities) else inputs
        infinite = torch.zeros(len(numbers), dtype=torch.bool, device=inputs.device)
        for chunk in _chunks(values):
            infinite |= chunk.isinf().any(0)
        if bool(infinite.any()):
            raise UsageError(
                "TableEncoder.fit: `inputs` must not be infinite; got infinity in column"
                f" {numbers[int(infinite.to(torch.uint8).argmax())]}. Use NaN for missing."
            )
        mean, std, count = _mean_std(values)
        missing = (count < len(inputs)).tolist()
        return cls(cardinalities, mean=mean.tolist(), std=std.tolist(), missing=missing, clip=clip)

    def settings(self) -> dict[str, Any]:
        """Give the arguments that build this encoder again, as plain data ready for JSON."""
        indicated = set(self.missing.tolist())
        return {
            "cardinalities": list(self.cardinalities),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "missing": [place in indicated for place in range(len(self.numbers))],
            "embedding_dims": list(self.embedding_dims),
            "clip": self.clip,
        }

    def forward(self, x: Tensor) -> Tensor:
        """Give the features of a batch of rows."""
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise UsageError(
                f"TableEncoder: `x` must have shape (B, {self.in_features}); got"
                f" {tuple(x.shape)}. Give the columns that the encoder was fitted on."
            )
        values = x if not self._categories else x.index_select(1, self.numbers)
        scaled = ((values - self.mean) / self.std).nan_to_num(nan=0.0)
        if self.clip is not None:
            scaled = scaled.clamp(-self.clip, self.clip)
        parts = [scaled]
        if len(self.missing):
            parts.append(values.index_select(1, self.missing).isnan().to(scaled.dtype))
        for column, table in zip(self._categories, self.embeddings, strict=True):
            codes = x[:, column].nan_to_num(nan=0.0).to(torch.int64)
            known = (codes >= 0) & (codes < self.cardinalities[column])
            parts.append(table(codes * known))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
